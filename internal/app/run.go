package app

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"
)

const (
	// drainLimit is what calls in flight may take when the service stops. With 5 s for the
	// doors to cut what is left and 5 s for the last events, the end comes within 25 s.
	drainLimit = 15 * time.Second
	// leaveLimit is what saying goodbye to the other replicas may take.
	leaveLimit = time.Second
)

// Run serves until ctx ends, then stops in order, within 25 s: first the doors, then those
// who write, then those who keep memory up to date. ready is told the addresses once the
// catalogue and the ranked lists are in memory. An error is what ended a part that should
// have gone on.
func (a *App) Run(ctx context.Context, ready func(Addrs)) error {
	// What runs behind the doors outlives ctx: calls in flight still need it.
	failed, fail := context.WithCancelCause(context.Background())
	defer fail(nil)
	var behind staff
	listed := make(chan struct{})
	behind.start(fail, "follower", func(ctx context.Context) error { return a.log.Follow(ctx, a.shelf) })
	behind.start(fail, "ranked lists", func(ctx context.Context) error { return a.gens.Run(ctx, listed) })
	behind.start(fail, "ranker", a.rank.Run)
	behind.start(fail, "events", a.signal.Run)
	behind.start(fail, "releases", a.releases.Run)
	if a.provider != nil {
		behind.start(fail, "identity provider", a.provider.Run)
	}

	door, closeDoor := context.WithCancel(ctx)
	defer closeDoor()
	defer context.AfterFunc(failed, closeDoor)()
	var waiting sync.WaitGroup
	waiting.Go(func() {
		for _, c := range []<-chan struct{}{a.log.Loaded(), listed} {
			select {
			case <-c:
			case <-door.Done():
				return
			}
		}
		a.loaded.Store(true)
		a.door.Refresh()
		a.logger.Info("ready", "revision", a.log.Applied(), "films", a.shelf.Current().Slots())
		ready(a.door.Addresses())
	})
	err := a.door.Serve(door)
	closeDoor()
	waiting.Wait()
	err = errors.Join(err, behind.stop())

	leaving, cancel := context.WithTimeout(context.Background(), leaveLimit)
	defer cancel()
	if leaveErr := a.log.Leave(leaving); leaveErr != nil {
		a.logger.Info("the other replicas will wait for this one until they miss it", "error", leaveErr)
	}
	if cause := context.Cause(failed); cause != nil {
		err = errors.Join(cause, err)
	}
	return err
}

// staff are the parts that run behind the doors.
type staff struct{ stops []func() error }

// start runs a part until stop. A part that ends before, or fails, fails the service.
func (s *staff) start(fail context.CancelCauseFunc, name string, run func(context.Context) error) {
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() {
		err := run(ctx)
		if err != nil {
			err = fmt.Errorf("%s: %w", name, err)
		}
		if ctx.Err() == nil {
			fail(errors.Join(err, fmt.Errorf("%s: ended before its time", name)))
		}
		done <- err
	}()
	s.stops = append(s.stops, func() error {
		cancel()
		if err := <-done; err != nil && !errors.Is(err, context.Canceled) {
			return err
		}
		return nil
	})
}

// stop ends the parts, the last started first, and waits for each.
func (s *staff) stop() error {
	var errs []error
	for i := len(s.stops) - 1; i >= 0; i-- {
		errs = append(errs, s.stops[i]())
	}
	return errors.Join(errs...)
}
