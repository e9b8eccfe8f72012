package prefectserver

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"

	"prefect-worker-ecs/internal/base/atomicfile"
	"prefect-worker-ecs/internal/local/pyenv"
)

// newDatabase puts a database as a server of env's release first makes it at path, unless there
// is one. A server would make it by going through all of Prefect's migrations since 2021,
// which takes more than half of its start, and by registering the types of blocks, at each
// start, which takes a third of the rest. It is therefore made once for each environment,
// beside its packages, and copied.
func newDatabase(ctx context.Context, env pyenv.Env, path string) error {
	if _, err := os.Stat(path); err == nil {
		return nil
	}
	first := filepath.Join(env.Dir, "first.db")
	unlock, err := pyenv.Lock(ctx, first)
	if err != nil {
		return err
	}
	defer unlock()
	if _, err := os.Stat(first); errors.Is(err, fs.ErrNotExist) {
		if err := makeFirst(ctx, env, first); err != nil {
			return fmt.Errorf("make the first database: %w", err)
		}
	}
	content, err := os.ReadFile(first)
	if err != nil {
		return err
	}
	return os.WriteFile(path, content, 0o600)
}

// migrate runs the migrations, registers the types of blocks and then empties SQLite's
// write-ahead log into the file, which is all that is copied.
const migrate = `
import asyncio, sqlite3, sys
from prefect.cli import app
path = sys.argv[1]
sys.argv = ["prefect", "server", "database", "upgrade", "--yes"]
try:
    app()
except SystemExit as end:
    if end.code:
        raise
from prefect.server.database.dependencies import provide_database_interface
from prefect.server.models.block_registration import run_block_auto_registration
async def register():
    async with await provide_database_interface().session() as session:
        await run_block_auto_registration(session=session)
asyncio.run(register())
db = sqlite3.connect(path)
db.execute("PRAGMA wal_checkpoint(TRUNCATE)")
db.execute("PRAGMA journal_mode=DELETE")
db.close()
`

func makeFirst(ctx context.Context, env pyenv.Env, first string) error {
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
	return atomicfile.Write(first, content, 0o600)
}

func databaseVariable(path string) string {
	return "PREFECT_API_DATABASE_CONNECTION_URL=sqlite+aiosqlite:///" + path
}
