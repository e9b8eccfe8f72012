package poll_test

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"prefect-worker-ecs/internal/base/poll"
)

func TestUntil(t *testing.T) {
	broken := errors.New("broken")
	for _, test := range []struct {
		name   string
		answer func(asked int) (bool, error)
		want   error
		took   time.Duration
	}{
		{"yes at once", func(int) (bool, error) { return true, nil }, nil, 0},
		{"yes later", func(asked int) (bool, error) { return asked == 3, nil }, nil, 2 * time.Second},
		{"a failure", func(asked int) (bool, error) {
			if asked == 2 {
				return false, broken
			}
			return false, nil
		}, broken, time.Second},
		{"never", func(int) (bool, error) { return false, nil }, context.DeadlineExceeded, 4500 * time.Millisecond},
	} {
		t.Run(test.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				ctx, cancel := context.WithTimeout(t.Context(), 4500*time.Millisecond)
				defer cancel()
				begin, asked := time.Now(), 0
				err := poll.Until(ctx, time.Second, func() (bool, error) { asked++; return test.answer(asked) })
				if took := time.Since(begin); err != test.want || took != test.took {
					t.Errorf("%v after %v, want %v after %v", err, took, test.want, test.took)
				}
			})
		})
	}
}
