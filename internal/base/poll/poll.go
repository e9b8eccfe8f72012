// Package poll waits for conditions that nothing announces.
package poll

import (
	"context"
	"net/http"
	"time"
)

// Until calls done at once and then again and again, with a pause in between, until it returns
// true or an error, or ctx ends; the error is then ctx's.
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

// answerLimit is how long an answer may take: a server on a loaded machine takes its time.
const answerLimit = 5 * time.Second

// Answers reports whether a web address answers with success now. Answers within 5 s count.
func Answers(ctx context.Context, url string) bool {
	ctx, cancel := context.WithTimeout(ctx, answerLimit)
	defer cancel()
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return false
	}
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		return false
	}
	response.Body.Close()
	return response.StatusCode == http.StatusOK
}
