package fault

import (
	"context"
	"errors"
	"fmt"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"google.golang.org/genproto/googleapis/rpc/code"
	"google.golang.org/genproto/googleapis/rpc/errdetails"
)

func TestStatusCarriesEveryPart(t *testing.T) {
	err := InvalidFields([]Field{{`film.localizations["en"].title`, "is empty"}, {"film.runtime", "must be > 0s"}})
	st := Status(fmt.Errorf("wrapped: %w", err))
	assert.EqualValues(t, code.Code_INVALID_ARGUMENT, st.Code)
	assert.Equal(t, `film.localizations["en"].title: is empty`, st.Message)
	require.Len(t, st.Details, 2)
	var info errdetails.ErrorInfo
	require.NoError(t, st.Details[0].UnmarshalTo(&info))
	assert.Equal(t, "INVALID_FIELD", info.Reason)
	assert.Equal(t, "theater", info.Domain)
	var bad errdetails.BadRequest
	require.NoError(t, st.Details[1].UnmarshalTo(&bad))
	assert.Len(t, bad.FieldViolations, 2)
}

func TestStatusOfStrangersSaysNothing(t *testing.T) {
	st := Status(errors.New("password=secret"))
	assert.EqualValues(t, code.Code_INTERNAL, st.Code)
	assert.NotContains(t, st.String(), "secret")
	assert.EqualValues(t, code.Code_DEADLINE_EXCEEDED, Status(context.DeadlineExceeded).Code)
	assert.EqualValues(t, code.Code_CANCELLED, Status(fmt.Errorf("x: %w", context.Canceled)).Code)
}

func TestStatusOfUnavailableSaysWhenToComeBack(t *testing.T) {
	st := Status(StoreUnavailable(errors.New("dial tcp 10.0.0.1")))
	assert.EqualValues(t, code.Code_UNAVAILABLE, st.Code)
	assert.NotContains(t, st.String(), "10.0.0.1")
	var retry errdetails.RetryInfo
	require.NoError(t, st.Details[1].UnmarshalTo(&retry))
	assert.Positive(t, retry.RetryDelay.AsDuration())
}

func TestEveryKindHasItsCode(t *testing.T) {
	seen := map[code.Code]Kind{}
	for k := Internal; k <= Unimplemented; k++ {
		c := kinds[k].code
		require.NotZero(t, c, "kind %d", k)
		require.NotContains(t, seen, c)
		seen[c] = k
	}
}
