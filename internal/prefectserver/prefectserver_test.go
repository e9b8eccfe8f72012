package prefectserver

import (
	"context"
	"errors"
	"net"
	"testing"
	"time"

	"prefect-worker-ecs/internal/prefectapi"
	"prefect-worker-ecs/internal/pyenv"
	"prefect-worker-ecs/internal/testtools"
)

func TestServerOfBothMajorVersions(t *testing.T) {
	for _, major := range []int{2, 3} {
		t.Run(map[int]string{2: "Prefect 2", 3: "Prefect 3"}[major], func(t *testing.T) {
			spec, err := pyenv.Prefect(major)
			if err != nil {
				t.Fatal(err)
			}
			env := testtools.Environment(t, spec)
			// GIVEN the user's own Prefect settings, and somebody on the wanted port
			t.Setenv("PREFECT_API_URL", "https://api.prefect.cloud/api/accounts/a/workspaces/w")
			t.Setenv("PREFECT_API_KEY", "of-the-user")
			taken, err := net.Listen("tcp", "127.0.0.1:0")
			if err != nil {
				t.Fatal(err)
			}
			defer taken.Close()

			// WHEN a server starts
			begin := time.Now()
			s, err := Start(t.Context(), Options{Env: env, Dir: t.TempDir(), Port: taken.Addr().(*net.TCPAddr).Port})
			if err != nil {
				t.Fatal(err)
			}
			defer s.Stop(context.Background())
			t.Logf("ready after %v", time.Since(begin))

			// THEN it serves on another port, with all that the local run asks of it
			api, err := prefectapi.New(s.APIURL(), "any")
			if err != nil {
				t.Fatal(err)
			}
			if err := api.CreateWorkPool(t.Context(), "p", "process"); err != nil {
				t.Fatal(err)
			}
			if err := api.CreateWorkPool(t.Context(), "p", "process"); !errors.Is(err, prefectapi.ErrConflict) {
				t.Errorf("a second pool of that name: %v, want ErrConflict", err)
			}
			pool, err := api.WorkPool(t.Context(), "p")
			if err != nil || pool.Type != "process" || pool.Paused || pool.Status != "NOT_READY" {
				t.Errorf("pool %+v, %v; want process, not paused, NOT_READY", pool, err)
			}
			if _, err := api.WorkPool(t.Context(), "absent"); !errors.Is(err, prefectapi.ErrNotFound) {
				t.Errorf("a pool that does not exist: %v, want ErrNotFound", err)
			}
			workers, err := api.OnlineWorkers(t.Context(), "p", time.Now())
			if err != nil || len(workers) != 0 {
				t.Errorf("workers %v, %v; want none", workers, err)
			}
			for range 2 { // The second time it exists.
				id, err := api.Deploy(t.Context(), prefectapi.LocalFlow{Name: "f", Pool: "p", Dir: t.TempDir(), Entrypoint: "f.py:f"})
				if err != nil {
					t.Fatal(err)
				}
				run, err := api.Run(t.Context(), id, nil)
				if err != nil {
					t.Fatal(err)
				}
				run, err = api.FlowRun(t.Context(), run.ID)
				if err != nil || run.State != "SCHEDULED" || run.Ended() {
					t.Errorf("run %+v, %v; want SCHEDULED", run, err)
				}
			}

			// WHEN it stops THEN it is gone, helper and all
			if err := s.Stop(t.Context()); err != nil {
				t.Fatal(err)
			}
			if s.Process.GroupAlive() || s.Ready(t.Context()) {
				t.Error("it still runs")
			}
			if err := api.Health(t.Context()); !errors.Is(err, prefectapi.ErrUnreachable) {
				t.Errorf("asked after the end: %v, want ErrUnreachable", err)
			}
		})
	}
}
