package logs

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/cloudwatchlogs"
)

// group is a log group with a line each second, of a number of lines up to now.
func group(t *testing.T, lines int) *cloudwatchlogs.Client {
	t.Helper()
	now := time.Now()
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		var in struct {
			StartTime, EndTime int64
			NextToken          string
		}
		if err := json.NewDecoder(r.Body).Decode(&in); err != nil {
			t.Error(err)
		}
		// As CloudWatch does: the oldest first, and so many at most.
		const page = 500
		skip, found := 0, 0
		_, _ = fmt.Sscan(in.NextToken, &skip)
		answer := map[string]any{}
		var events []any
		for i := lines; i > 0; i-- {
			at := now.Add(-time.Duration(i) * time.Second).UnixMilli()
			if at < in.StartTime || at > in.EndTime {
				continue
			}
			found++
			if found <= skip {
				continue
			}
			if len(events) == page {
				answer["nextToken"] = fmt.Sprint(skip + page)
				break
			}
			events = append(events, map[string]any{"message": fmt.Sprintf("line %d\n", i), "timestamp": at, "logStreamName": "worker/1"})
		}
		answer["events"] = events
		w.Header().Set("Content-Type", "application/x-amz-json-1.1")
		if err := json.NewEncoder(w).Encode(answer); err != nil {
			t.Error(err)
		}
	}))
	t.Cleanup(server.Close)
	return cloudwatchlogs.NewFromConfig(aws.Config{Region: "us-east-1", BaseEndpoint: &server.URL, Credentials: credentials.NewStaticCredentialsProvider("x", "x", "")})
}

// TestNewest: of a log with more lines than are read the newest are.
func TestNewest(t *testing.T) {
	for name, test := range map[string]struct {
		lines int
		since time.Duration
		first string
	}{
		"a few":                {3, time.Hour, "line 3"},
		"since a minute":       {300, time.Minute, "line 6"},         // and some digit
		"more than are read":   {20_000, 300 * time.Hour, "line 11"}, // nine minutes, and ten before them
		"of an old deployment": {3, 10_000 * time.Hour, "line 3"},
	} {
		began := time.Now()
		client := group(t, test.lines)
		got, err := Newest(t.Context(), client, "g", "", began.Add(-test.since))
		if err != nil || len(got) == 0 || got[len(got)-1] != "line 1" {
			t.Fatalf("%s: %d lines, %v", name, len(got), err)
		}
		// None between is left out.
		if !strings.HasPrefix(got[0], test.first) || got[0] != fmt.Sprintf("line %d", len(got)) {
			t.Errorf("%s: %d lines, the first is %s, want %s", name, len(got), got[0], test.first)
		}
	}
	// AND none of another stream
	for prefix, want := range map[string]int{"worker/": 3, "server/": 0} {
		if got, err := Newest(t.Context(), group(t, 3), "g", prefix, time.Now().Add(-time.Hour)); err != nil || len(got) != want {
			t.Errorf("%s: %q, %v", prefix, got, err)
		}
	}
}
