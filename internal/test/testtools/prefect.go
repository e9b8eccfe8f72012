package testtools

import (
	"bytes"
	"encoding/json"
	"net/http"
	"testing"
	"time"
)

// PostPrefect sends a request with a JSON body to a Prefect server, which must succeed. For up to
// 20 s it is sent again where the server asks for it: its SQLite is being written by others.
func PostPrefect(t *testing.T, method, url string, body any, auth func(*http.Request)) {
	t.Helper()
	content, err := json.Marshal(body)
	NoError(t, err)
	for end := time.Now().Add(20 * time.Second); ; time.Sleep(time.Second) {
		request, err := http.NewRequestWithContext(t.Context(), method, url, bytes.NewReader(content))
		NoError(t, err)
		request.Header.Set("Content-Type", "application/json")
		if auth != nil {
			auth(request)
		}
		response, err := http.DefaultClient.Do(request)
		NoError(t, err)
		response.Body.Close()
		switch {
		case response.StatusCode < 300:
			return
		case response.StatusCode != http.StatusServiceUnavailable || time.Now().After(end):
			t.Fatalf("%s %s: %s", method, url, response.Status)
		}
	}
}
