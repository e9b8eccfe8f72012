package verify

import (
	"fmt"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ecs/types"

	"prefect-worker-ecs/config"
)

// TestTheAPI: what is at the address of the API, or before it.
func TestTheAPI(t *testing.T) {
	serving := func(handler http.HandlerFunc) func(*testing.T) string {
		return func(t *testing.T) string {
			server := httptest.NewServer(handler)
			t.Cleanup(server.Close)
			return server.URL + "/api"
		}
	}
	const detail = `{"detail":"no"}`
	page := func(status int, text string) func(*testing.T) string {
		return serving(func(w http.ResponseWriter, _ *http.Request) {
			w.WriteHeader(status)
			fmt.Fprint(w, text)
		})
	}
	redirecting := serving(func(w http.ResponseWriter, r *http.Request) {
		http.Redirect(w, r, "https://prefect.example.com"+r.URL.Path, http.StatusMovedPermanently)
	})
	half := serving(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Length", "99")
		fmt.Fprint(w, "[")
	})
	silent := func(t *testing.T) string {
		over := make(chan struct{})
		url := serving(func(http.ResponseWriter, *http.Request) { <-over })(t)
		t.Cleanup(func() { close(over) })
		return url
	}
	untrusted := func(t *testing.T) string {
		server := httptest.NewUnstartedServer(http.NotFoundHandler())
		server.Config.ErrorLog = log.New(io.Discard, "", 0)
		server.StartTLS()
		t.Cleanup(server.Close)
		return server.URL + "/api"
	}
	unreachable := unsure(checkAPI, "the Prefect API cannot be reached")
	foreign := failing(checkAPI, "the answer is not what a Prefect API gives")
	for name, test := range map[string]struct {
		url  func(*testing.T) string
		want want
	}{
		"it answers":                        {page(200, "[]"), well},
		"500":                               {page(500, detail), unsure(checkAPI, "the API is in trouble")},
		"429":                               {page(429, detail), unsure(checkAPI, "the API is in trouble")},
		"404":                               {page(404, detail), failing(checkAPI, "is not the API of a workspace (404)").fixedBy("prefect_account_id and prefect_workspace_id")},
		"403":                               {page(403, detail), unsure(checkAPI, "may not list the work pools")},
		"401":                               {page(401, detail), failing(checkAPI, "the API rejects the API key").fixedBy("raise secret.version")},
		"a redirect":                        {redirecting, failing(checkAPI, "redirects to https://prefect.example.com/api/work_pools/filter").fixedBy("set prefect_api_url")},
		"a certificate that is not trusted": {untrusted, unsure(checkAPI, "the Prefect API cannot be reached", "certificate").fixedBy("SSL_CERT_FILE")},
		"no answer":                         {silent, unreachable},
		"half an answer":                    {half, unreachable},
		"not there":                         {closedAPI, unreachable},
		"a page of a login":                 {page(200, "<html>"), foreign},
		"another document":                  {page(200, `{"status":"ok"}`), foreign},
		"a page of a firewall":              {page(403, "<html>"), unsure(checkAPI, "something before the API, such as a proxy or a firewall, rejects the request")},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel() // some wait for an answer
			url := test.url(t)
			c := newChecklist(Options{Environment: config.Default("dev")})
			c.credential = apiKey
			c.Container.Environment = []types.KeyValuePair{{Name: aws.String("PREFECT_API_URL"), Value: &url}}
			f := c.apiAnswers(t.Context())
			test.want.judge(t, Report{Outcome: f.status, Checks: []Check{{Name: checkAPI, Status: f.status, Detail: f.detail, Fix: f.fix}}})
		})
	}
}
