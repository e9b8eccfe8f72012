package prefectserver

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"time"

	"github.com/gofrs/flock"

	"prefect-worker-ecs/internal/atomicfile"
	"prefect-worker-ecs/internal/pyenv"
)

// newDatabase puts an empty database of the schema of env's release at path, unless there
// is one. A server would make it itself, by going through all of Prefect's migrations
// since 2021, which takes more than half of its start. It is therefore made once for
// each environment, beside its packages, and copied.
func newDatabase(ctx context.Context, env pyenv.Env, path string) error {
	if _, err := os.Stat(path); err == nil {
		return nil
	}
	blank := filepath.Join(env.Dir, "blank.db")
	lock := flock.New(blank + ".lock")
	if _, err := lock.TryLockContext(ctx, 200*time.Millisecond); err != nil {
		return fmt.Errorf("wait for another program that makes the database: %w", err)
	}
	defer lock.Unlock()
	if _, err := os.Stat(blank); errors.Is(err, fs.ErrNotExist) {
		if err := makeBlank(ctx, env, blank); err != nil {
			return fmt.Errorf("make an empty database: %w", err)
		}
	}
	content, err := os.ReadFile(blank)
	if err != nil {
		return err
	}
	return os.WriteFile(path, content, 0o600)
}

// migrate runs the migrations and then empties SQLite's write-ahead log into the file, which
// is all that is copied.
const migrate = `
import sqlite3, sys
from prefect.cli import app
path = sys.argv[1]
sys.argv = ["prefect", "server", "database", "upgrade", "--yes"]
try:
    app()
except SystemExit as end:
    if end.code:
        raise
db = sqlite3.connect(path)
db.execute("PRAGMA wal_checkpoint(TRUNCATE)")
db.execute("PRAGMA journal_mode=DELETE")
db.close()
`

func makeBlank(ctx context.Context, env pyenv.Env, blank string) error {
	dir, err := os.MkdirTemp("", "prefect-database-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	db := filepath.Join(dir, "prefect.db")
	cmd := exec.CommandContext(ctx, env.Python(), "-c", migrate, db)
	cmd.Env = append(Environ(filepath.Join(dir, "home")), databaseVariable(db))
	if out, err := cmd.CombinedOutput(); err != nil {
		if ctx.Err() != nil {
			return ctx.Err()
		}
		return fmt.Errorf("%w\n%s", err, out)
	}
	content, err := os.ReadFile(db)
	if err != nil {
		return err
	}
	// At once, so that an interrupted one is never taken for whole.
	return atomicfile.Write(blank, content, 0o600)
}

func databaseVariable(path string) string {
	return "PREFECT_API_DATABASE_CONNECTION_URL=sqlite+aiosqlite:///" + path
}
