package curation_test

import (
	"fmt"
	"math/rand/v2"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/anishathalye/porcupine"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	pb "github.com/aitheater/theater/api/theater/v1"
	"github.com/aitheater/theater/internal/fault"
	"github.com/aitheater/theater/internal/theatertest"
)

// save is an editor's attempt to replace the version of a section that they last saw.
type save struct{ etag string }

// saved is its outcome: the etag of the new version, or none where the section had moved on.
type saved struct{ etag string }

// sectionModel is a section as its editors may think of it: one value that changes at one
// instant of each successful save, and only in front of who saw the version before.
var sectionModel = porcupine.Model{
	Init: func() any { return "" },
	Step: func(state, input, output any) (bool, any) {
		now, in, out := state.(string), input.(save), output.(saved)
		matches := in.etag == now
		if out.etag == "" {
			return !matches, now
		}
		return matches, out.etag
	},
	DescribeOperation: func(input, output any) string {
		return fmt.Sprintf("save over %q: %q", input.(save).etag, output.(saved).etag)
	},
}

// TestConcurrentEditorsTakeTurns has editors at two replicas save one section over what they
// saw last, and checks that the whole history could be that of editors who take turns: no save
// is lost, and none was refused without cause.
func TestConcurrentEditorsTakeTurns(t *testing.T) {
	theatertest.EachStore(t, func(t *testing.T, url string) {
		houses := []*house{open(t, url, "replica-1")}
		if strings.HasPrefix(url, "postgres") {
			houses = append(houses, open(t, url, "replica-2"))
		}
		first := houses[0].section("picks", manual("0")).GetEtag()
		history := []porcupine.Operation{{ClientId: 0, Input: save{}, Output: saved{first}, Call: 0, Return: 1}}
		var mu sync.Mutex
		began := time.Now().Add(-time.Second)
		known := first // the etag somebody saw last: editors read over each other's shoulders
		won := 0
		var editors sync.WaitGroup
		for editor := range 6 {
			h := houses[editor%len(houses)]
			random := rand.New(rand.NewPCG(1, uint64(editor)))
			editors.Go(func() {
				for attempt := range 40 {
					mu.Lock()
					in := save{known}
					mu.Unlock()
					time.Sleep(time.Duration(random.IntN(2000)) * time.Microsecond) // thinks
					call := time.Since(began)
					out, err := h.UpdateSection(h.ctx, &pb.UpdateSectionRequest{Section: &pb.Section{
						Name: "sections/picks", Etag: in.etag, Title: map[string]string{"en": fmt.Sprint(editor, " ", attempt)},
					}})
					back := time.Since(began)
					if err != nil && !fault.Is(err, pb.ErrorReason_ETAG_MISMATCH) {
						t.Error(err)
						return
					}
					mu.Lock()
					history = append(history, porcupine.Operation{ClientId: editor + 1, Input: in, Output: saved{out.GetEtag()}, Call: int64(call), Return: int64(back)})
					if err == nil {
						known = out.GetEtag()
						won++
					}
					mu.Unlock()
				}
			})
		}
		editors.Wait()
		require.Greater(t, won, 20)
		assert.Less(t, won, len(history)-1, "nobody ever met anybody: the test shows nothing")
		assert.Equal(t, porcupine.Ok, porcupine.CheckOperationsTimeout(sectionModel, history, time.Minute), "%d saves of %d", won, len(history))
		t.Logf("%d of %d saves succeeded", won, len(history)-1)
	})
}
