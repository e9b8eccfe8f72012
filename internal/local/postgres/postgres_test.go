package postgres

import (
	"context"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"testing"
)

func TestPasswordAndTLS(t *testing.T) {
	if Find() == "" {
		t.Skip("PostgreSQL is not installed")
	}
	s, err := Start(t.Context(), nil)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Stop(context.Background()); err != nil {
			t.Error(err)
		}
		if _, err := os.Stat(s.Dir); err == nil {
			t.Error("its folder is still there")
		}
	})
	connect := func(password, mode string) string {
		cmd := exec.CommandContext(t.Context(), Find()+"/psql", "-X", "-h", "127.0.0.1", "-p", strconv.Itoa(s.Port), "-U", "flows", "-d", "flows", "-tAc", "SELECT 'in'")
		cmd.Env = append(os.Environ(), "PGPASSWORD="+password, "PGSSLMODE="+mode)
		out, _ := cmd.CombinedOutput()
		return strings.TrimSpace(string(out))
	}
	for _, password := range []string{`pa:ss\w%40rd#?&[x]~$(1)'`, "second"} {
		if err := s.Provide(t.Context(), "flows", password, "flows"); err != nil {
			t.Fatal(err)
		}
		if got := connect(password, "require"); got != "in" {
			t.Errorf("with the password and TLS: %s", got)
		}
		if got := connect("wrong", "require"); !strings.Contains(got, "password authentication failed") {
			t.Errorf("with a wrong password: %s", got)
		}
		if got := connect(password, "disable"); !strings.Contains(got, "no encryption") {
			t.Errorf("without TLS: %s", got)
		}
	}
}
