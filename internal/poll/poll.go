// Package poll waits for what says nothing by itself when it is so.
package poll

import (
	"context"
	"time"
)

// Until asks done at once and then again and again, with a pause in between, until it says
// yes or fails, or ctx ends; the error is then ctx's.
func Until(ctx context.Context, pause time.Duration, done func() (bool, error)) error {
	tick := time.NewTicker(pause)
	defer tick.Stop()
	for {
		if yes, err := done(); yes || err != nil {
			return err
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-tick.C:
		}
	}
}
