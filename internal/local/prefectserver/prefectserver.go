// Package prefectserver runs a Prefect server, of Prefect 2 or 3, on this
// machine: Prefect's own, with its database in a folder, on 127.0.0.1 only.
package prefectserver

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	"prefect-worker-ecs/internal/base/poll"
	"prefect-worker-ecs/internal/base/proc"
	"prefect-worker-ecs/internal/local/pyenv"
)

const (
	// startTimeout is generous: a server needs 6 s to 12 s, and three times
	// that on a loaded machine or for the first time (no byte code yet).
	startTimeout = 120 * time.Second
	// stopGrace is how long SIGTERM has. It closes its database within 1 s.
	stopGrace = 5 * time.Second
)

// Options says how to start a server.
type Options struct {
	// Env is the environment with Prefect: pyenv.Prefect2 or pyenv.Prefect3.
	// Required.
	Env pyenv.Env
	// Dir is the absolute path of the folder for its database, settings and log
	// (prefect-server.log). Required; it is made if missing. What a server
	// left there is found again by the next one.
	Dir string
	// Port is that of its address. Default 0: any free one.
	Port int
	// Started is called with the process before it is ready. Nil: it is not.
	Started func(proc.Identity)
	// ExtraEnv is added to the server's environment, such as
	// PREFECT_SERVER_API_AUTH_STRING=… for one of Prefect 3 that wants a key.
	ExtraEnv []string
}

// Server is a Prefect server that runs, or ran.
type Server struct {
	// Port is its port on 127.0.0.1.
	Port int `json:"port"`
	// Process is the server's process.
	Process proc.Identity `json:"process"`
}

// URL returns where its user interface is, such as http://127.0.0.1:43210.
func (s *Server) URL() string { return "http://127.0.0.1:" + strconv.Itoa(s.Port) }

// APIURL returns the address of its API, the value for PREFECT_API_URL.
func (s *Server) APIURL() string { return s.URL() + "/api" }

// Start starts a server and returns when its API answers. If it does not start,
// or ctx ends first, nothing is left running and the error holds the end of its
// log.
func Start(ctx context.Context, opt Options) (*Server, error) {
	dir, s := opt.Dir, &Server{Port: opt.Port}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return nil, fmt.Errorf("start the Prefect server: %w", err)
	}
	if err := newDatabase(ctx, opt.Env, filepath.Join(dir, "prefect.db")); err != nil {
		return nil, fmt.Errorf("start the Prefect server: %w", err)
	}
	var err error
	if s.Port == 0 {
		if s.Port, err = proc.FreePort(); err != nil {
			return nil, fmt.Errorf("start the Prefect server: %w", err)
		}
	}
	// What "prefect server start --background" of both major versions runs. In the foreground
	// that of Prefect 2 is one process more, which waits for this one and takes 2 s of processor.
	cmd := exec.Command(opt.Env.Python(), "-m", "uvicorn", "--factory", "prefect.server.api.server:create_app",
		"--host", "127.0.0.1", "--port", strconv.Itoa(s.Port), "--timeout-keep-alive", "5")
	cmd.Dir = dir
	cmd.Env = append(Environ(filepath.Join(dir, "home")),
		databaseVariable(filepath.Join(dir, "prefect.db")),
		"PREFECT__SERVER_FINAL=1",
		"PREFECT_SERVER_ANALYTICS_ENABLED=false",
		"PREFECT_API_BLOCKS_REGISTER_ON_START=false", // they are in the database
		"PREFECT_UI_API_URL="+s.APIURL(),
		// By default the pages go to the installed package, where a second
		// server with another address would overwrite them.
		"PREFECT_UI_STATIC_DIRECTORY="+filepath.Join(dir, "ui"),
	)
	cmd.Env = append(cmd.Env, opt.ExtraEnv...)
	s.Process, err = proc.Launch(ctx, proc.Server{
		Name: "the Prefect server", Cmd: cmd, Log: filepath.Join(dir, "prefect-server.log"), Started: opt.Started, Timeout: startTimeout, Ready: s.Ready,
	})
	if err != nil {
		return nil, err
	}
	return s, nil
}

// Environ returns the caller's environment for a program of Prefect that must not
// see the user's own Prefect settings: an API URL or key of Prefect Cloud, or a
// profile. home becomes its PREFECT_HOME. Telemetry is off.
func Environ(home string) []string {
	var env []string
	for _, kv := range pyenv.Environ() {
		if !strings.HasPrefix(kv, "PREFECT_") {
			env = append(env, kv)
		}
	}
	return append(env, "PREFECT_HOME="+home, "DO_NOT_TRACK=1")
}

// Ready reports whether the server answers now. Answers within 5 s count.
// It needs no credential for that.
func (s *Server) Ready(ctx context.Context) bool { return poll.Answers(ctx, s.APIURL()+"/health") }

// Stop ends the server, if it still runs.
func (s *Server) Stop(ctx context.Context) error {
	if err := s.Process.Stop(ctx, syscall.SIGTERM, stopGrace); err != nil {
		return fmt.Errorf("stop the Prefect server: %w", err)
	}
	return nil
}
