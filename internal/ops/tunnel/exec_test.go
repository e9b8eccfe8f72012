package tunnel

import (
	"bytes"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"

	"prefect-worker-ecs/internal/test/testtools"
)

// TestExec runs a command with a fake AWS CLI, which shows what it was given.
func TestExec(t *testing.T) {
	// GIVEN a service with two tasks
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		w.Header().Set("Content-Type", "application/x-amz-json-1.1")
		const arn = `arn:aws:ecs:us-east-1:123456789012:task/c/`
		switch {
		case strings.Contains(string(body), "nobody"):
			_, _ = io.WriteString(w, `{"taskArns":[]}`)
		case strings.HasSuffix(r.Header.Get("X-Amz-Target"), ".ListTasks"):
			_, _ = io.WriteString(w, `{"taskArns":["`+arn+`aa11","`+arn+`bb22"]}`)
		default:
			_, _ = io.WriteString(w, `{"tasks":[{"taskArn":"`+arn+`aa11"},{"taskArn":"`+arn+`bb22"}]}`)
		}
	}))
	defer server.Close()
	bin := t.TempDir()
	for name, text := range map[string]string{
		"aws":                    "#!/bin/sh\necho \"$@\"\necho \"key $AWS_ACCESS_KEY_ID token $AWS_SESSION_TOKEN profile $AWS_PROFILE\"\ncat\nexit 3\n",
		"session-manager-plugin": "#!/bin/sh\n",
	} {
		testtools.NoError(t, os.WriteFile(filepath.Join(bin, name), []byte(text), 0o755))
	}
	t.Setenv("AWS_PROFILE", "of-the-user")
	var out bytes.Buffer
	c := Command{
		AWS:     aws.Config{Region: "us-east-1", BaseEndpoint: &server.URL, Credentials: credentials.NewStaticCredentialsProvider("id-of-the-role", "x", "token-of-the-role")},
		Cluster: "c", Service: "w", Container: "prefect-worker", Line: "prefect version", Programs: bin,
		Stdin: strings.NewReader("typed"), Stdout: &out, Stderr: &out,
	}
	// WHEN a command is run THEN the AWS CLI gets it for the first task, with the credentials that
	// are used here, and the terminal's streams
	err := Exec(t.Context(), c)
	const want = "ecs execute-command --region us-east-1 --cluster c --task aa11 --container prefect-worker --interactive --command prefect version\n" +
		"key id-of-the-role token token-of-the-role profile \ntyped"
	if out.String() != want {
		t.Errorf("got  %q\nwant %q", out.String(), want)
	}
	// AND its exit status is not lost
	if ended := (*exec.ExitError)(nil); !errors.As(err, &ended) || ended.ExitCode() != 3 {
		t.Errorf("ended with %v", err)
	}
	// WHEN a task is named THEN it is that one
	out.Reset()
	c.Task = "bb"
	if _ = Exec(t.Context(), c); !strings.Contains(out.String(), "--task bb22 ") {
		t.Errorf("got %q", out.String())
	}
	// AND what cannot be is said
	for text, change := range map[string]func(*Command){
		"no task of the service w whose id begins with zz runs; there are: aa11, bb22": func(c *Command) { c.Task = "zz" },
		"no task of the service nobody runs":                                           func(c *Command) { c.Service = "nobody" },
		"is not installed: https://docs.aws.amazon.com/":                               func(c *Command) { c.Programs = t.TempDir() },
	} {
		wrong := c
		change(&wrong)
		if err := Exec(t.Context(), wrong); err == nil || !strings.Contains(err.Error(), text) {
			t.Errorf("got %v, want %s", err, text)
		}
	}
}
