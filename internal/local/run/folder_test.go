package run

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"

	"prefect-worker-ecs/internal/base/proc"
	"prefect-worker-ecs/internal/terraform/project"
	"prefect-worker-ecs/internal/test/testtools"
)

// write makes files, with their folders. A name that ends in a slash is an empty folder.
func write(t *testing.T, dir string, files map[string]string) {
	t.Helper()
	for name, content := range files {
		path := filepath.Join(dir, name)
		if strings.HasSuffix(name, "/") {
			testtools.NoError(t, os.MkdirAll(path, 0o755))
			continue
		}
		testtools.NoError(t, os.MkdirAll(filepath.Dir(path), 0o755))
		testtools.NoError(t, os.WriteFile(path, []byte(content), 0o644))
	}
}

// tree lists all below dir, with the content of files.
func tree(t *testing.T, dir string) []string {
	t.Helper()
	var all []string
	err := filepath.WalkDir(dir, func(path string, entry fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		line := strings.TrimPrefix(path, dir) + " " + entry.Type().String()
		if entry.Type().IsRegular() {
			content, err := os.ReadFile(path)
			if err != nil {
				return err
			}
			line += " " + string(content)
		}
		all = append(all, line)
		return nil
	})
	testtools.NoError(t, err)
	return all
}

func stateOfRun(folder, environment, more string) string {
	return fmt.Sprintf(`{"of": %q, "folder": %q, "environment": %q%s}`, stateOf, folder, environment, more)
}

// options are those of a run in dir on this project.
func options(t *testing.T, dir string, out *strings.Builder) Options {
	t.Helper()
	project, err := project.Find(".")
	testtools.NoError(t, err)
	return Options{Project: project, Environment: "dev", Dir: dir, Out: out, Program: "/bin/workerctl"}
}

func TestAFolderThatIsNotOursIsLeftAlone(t *testing.T) {
	const (
		notEmpty  = ", and no local run made it: only a folder that is new, empty or of a local run is used, because such a run removes its files there; name another one with --dir, or move away what is in it"
		ofAnother = "DIR/state.json is not the state of a local run as this workerctl writes it, so nothing was touched: name another folder with --dir; or, if another version"
		copied    = "DIR/state.json is of the local run in /somewhere/else and was copied or moved here, so nothing was touched: name that folder with --dir, or remove this one by hand"
		ofProd    = "DIR holds the local run of prod, not of dev, so nothing was touched: name prod, or another folder with --dir"
	)
	sleeper := stranger(t)
	kills := fmt.Sprintf(`, "prefect_major": 2, "supervisor": {"pid": %d, "started": %q}`, sleeper.PID, sleeper.Started)
	for _, test := range []struct {
		name  string
		files map[string]string
		// link, if set, is what DIR is a link to.
		link string
		// up and down are the errors; none means that it says there is no run.
		up, down string
	}{
		{name: "files of a person", files: map[string]string{"thesis.txt": "years", "workspace/x": "y"}, up: "DIR holds thesis.txt" + notEmpty},
		{name: "a hidden file", files: map[string]string{".keep": ""}, up: "DIR holds .keep" + notEmpty},
		{name: "an empty folder of a person", files: map[string]string{"empty/": ""}, up: "DIR holds empty" + notEmpty},
		{name: "behind a link", link: "real", files: map[string]string{"thesis.txt": "years"}, up: "/real holds thesis.txt" + notEmpty},
		{name: "a state of another program or version", files: map[string]string{"state.json": `{"environment": "dev"` + kills + `}`}, up: ofAnother, down: ofAnother},
		{name: "half a state", files: map[string]string{"state.json": `{"of": "local run of prefect`}, up: ofAnother, down: ofAnother},
		{name: "a copied run", files: map[string]string{"state.json": stateOfRun("/somewhere/else", "dev", kills), "emulator/emulator.log": ""}, up: copied, down: copied},
		{name: "the run of another environment", files: map[string]string{"state.json": stateOfRun("HERE", "prod", kills)}, up: ofProd, down: ofProd},
	} {
		t.Run(test.name, func(t *testing.T) {
			// GIVEN a folder that is not this run's
			parent := t.TempDir()
			dir := filepath.Join(parent, "dir")
			real := dir
			if test.link != "" {
				real = filepath.Join(parent, test.link)
				testtools.NoError(t, os.Symlink(real, dir))
			}
			for name, content := range test.files {
				write(t, real, map[string]string{name: strings.ReplaceAll(content, "HERE", real)})
			}
			before := tree(t, parent)

			// WHEN a run is to be brought up or taken down there
			for verb, want := range map[string]string{"up": test.up, "down": test.down} {
				var out strings.Builder
				opt := options(t, dir, &out)
				command := map[string]func(context.Context, Options) error{"up": Up, "down": Down}[verb]
				err := command(t.Context(), opt)

				// THEN it says why not
				want = strings.ReplaceAll(want, "DIR", dir)
				switch {
				case want == "" && (err != nil || out.String() != "There is no local run of dev.\n"):
					t.Errorf("%s: %v\n%s", verb, err, out.String())
				case want != "" && (err == nil || !strings.Contains(err.Error(), want)):
					t.Errorf("%s:\n got  %v\n want %s", verb, err, want)
				}
			}

			// AND nothing was touched, nor stopped
			if after := tree(t, parent); !slices.Equal(before, after) {
				t.Errorf("before %q\nafter  %q", before, after)
			}
			if !sleeper.Alive() {
				t.Fatal("a stranger's process was stopped")
			}
		})
	}
}

// stranger is a process that no run started.
func stranger(t *testing.T) proc.Identity {
	t.Helper()
	cmd := exec.Command("sleep", "600")
	id, err := proc.Start(cmd, false)
	testtools.NoError(t, err)
	ended := make(chan error, 1)
	go func() { ended <- cmd.Wait() }()
	t.Cleanup(func() {
		if err := syscall.Kill(-id.PID, syscall.SIGKILL); err != nil {
			t.Error(err)
		}
		<-ended
	})
	return id
}

func TestPlacesThatAreNoFolderForARun(t *testing.T) {
	home := t.TempDir()
	write(t, home, map[string]string{"file": "x", ".profile": "y"})
	var out strings.Builder
	project := options(t, "", &out).Project.Root
	for dir, want := range map[string]string{
		filepath.Join(home, "file"):          "not a directory; name another one with --dir",
		filepath.Join(home, "file", "below"): "not a directory; name another one with --dir",
		home:                                 home + " holds .profile, and no local run made it",
		project:                              "and no local run made it",
		filepath.Dir(project):                "and no local run made it",
		"/":                                  "and no local run made it",
	} {
		if err := Up(t.Context(), options(t, dir, &out)); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s:\n got  %v\n want %s", dir, err, want)
		}
	}
}

func TestOnlyWhatARunMadeIsRemoved(t *testing.T) {
	for _, test := range []struct {
		name     string
		existing bool              // the folder was there before the run, and empty
		users    map[string]string // what a person added later
		left     []string
	}{
		{name: "nothing else"},
		{name: "nothing else, in a folder of a person", existing: true},
		{name: "files of a person beside those of the run",
			users: map[string]string{"notes.txt": "a", "mine/b": "b"},
			left:  []string{"mine/", "notes.txt"}},
	} {
		t.Run(test.name, func(t *testing.T) {
			// GIVEN a run with files of each kind, and a link to elsewhere
			parent := t.TempDir()
			dir, elsewhere := filepath.Join(parent, "run"), filepath.Join(parent, "elsewhere")
			write(t, elsewhere, map[string]string{"home/x": "x"})
			if test.existing {
				write(t, parent, map[string]string{"run/": ""})
			}
			r := &run{dir: dir}
			release, err := r.claim("dev")
			testtools.NoError(t, err)
			write(t, dir, map[string]string{
				"terraform.log": "", "emulator/port": "1", "prefect/prefect.db": "", "prefect/prefect.db-wal": "", "prefect/home/a/b": "", "task/events.jsonl": "",
				"task/task-0123/root/x": "", "flow/hello.py": "", "workspace/cdktf.out/stacks/dev/.terraform/x": "",
				"workspace/terraform.dev.tfstate": "", "workspace/terraform.dev.tfstate.backup": "", "workspace/config/environments/dev.yaml": "",
			})
			testtools.NoError(t, os.Symlink(elsewhere, filepath.Join(dir, "prefect", "home", "link")))
			write(t, dir, test.users)
			release()

			// WHEN it is taken down
			var out strings.Builder
			testtools.NoError(t, Down(t.Context(), options(t, dir, &out)))

			// THEN what others put there is left, and said
			want := "The last local run of dev has ended; its files are removed.\n"
			for _, name := range test.left {
				want += "  left: " + strings.TrimSuffix(filepath.Join(dir, name), "/") + ", which no local run made\n"
			}
			if out.String() != want {
				t.Errorf("got  %s\nwant %s", out.String(), want)
			}
			for name, content := range test.users {
				if got, err := os.ReadFile(filepath.Join(dir, name)); !strings.HasSuffix(name, "/") && (err != nil || string(got) != content) {
					t.Errorf("%s: %q, %v", name, got, err)
				}
			}
			if _, err := os.Stat(filepath.Join(elsewhere, "home", "x")); err != nil {
				t.Error(err)
			}
			// AND all else is gone, with the folder if a run made it
			files := tree(t, parent)
			kept := func(name string) bool {
				return slices.ContainsFunc(files, func(line string) bool { return strings.HasPrefix(line, name+" ") })
			}
			if kept("/run/state.json") || kept("/run/task") || kept("/run/prefect/home") || kept("/run") != (test.existing || test.users != nil) {
				t.Errorf("there are %q", files)
			}
		})
	}
}

func TestALinkInPlaceOfARunsFolderIsNotFollowed(t *testing.T) {
	// GIVEN a run that has ended, where somebody put a link in the place of a folder of it
	parent := t.TempDir()
	r := &run{dir: filepath.Join(parent, "run")}
	write(t, parent, map[string]string{"elsewhere/server.py": "mine"})
	release, err := r.claim("dev")
	testtools.NoError(t, err)
	defer release()
	testtools.NoError(t, os.Symlink(filepath.Join(parent, "elsewhere"), r.emulatorDir()))
	// WHEN the folder is cleared for another run
	if left, err := r.clear(); err != nil || len(left) > 0 {
		t.Fatalf("%q, %v", left, err)
	}
	// THEN the link is gone, and the file behind it is as it was
	if _, err := os.Lstat(r.emulatorDir()); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("the link: %v", err)
	}
	if got, err := os.ReadFile(filepath.Join(parent, "elsewhere", "server.py")); err != nil || string(got) != "mine" {
		t.Errorf("%q, %v", got, err)
	}
}

func TestOneCommandAtATime(t *testing.T) {
	// GIVEN a run that a command works on
	dir := filepath.Join(t.TempDir(), "run")
	release, err := (&run{dir: dir}).claim("dev")
	testtools.NoError(t, err)
	var out strings.Builder
	// THEN others are refused until it ends, and nothing is left beside the folder
	for _, command := range []func() error{
		func() error { return Up(t.Context(), options(t, dir, &out)) },
		func() error { return Down(t.Context(), options(t, dir, &out)) },
	} {
		if err := command(); err == nil || err.Error() != "another workerctl works on this local run; wait for it or interrupt it" {
			t.Errorf("got %v", err)
		}
	}
	release()
	testtools.NoError(t, Down(t.Context(), options(t, dir, &out)))
	if _, err := os.Stat(dir); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("the folder: %v", err)
	}
	if left := tree(t, filepath.Dir(dir)); len(left) != 1 {
		t.Errorf("left: %q", left)
	}
}

func TestAnUnknownEnvironmentIsAnErrorForAll(t *testing.T) {
	var out strings.Builder
	opt := options(t, filepath.Join(t.TempDir(), "run"), &out)
	opt.Environment = "prdo"
	want := fmt.Sprintf("there is no environment %q in %s; there are: dev. Add the file prdo.yaml, which may be empty", "prdo", opt.config())
	_, verifyErr := opt.Checklist()
	for name, command := range map[string]error{
		"up": Up(t.Context(), opt), "down": Down(t.Context(), opt), "status": Status(t.Context(), opt), "verify": verifyErr,
	} {
		if command == nil || command.Error() != want {
			t.Errorf("%s: %v, want %s", name, command, want)
		}
	}
	// BUT a run whose file was removed since can be taken down
	r := &run{dir: opt.Dir}
	release, err := r.claim("prdo")
	testtools.NoError(t, err)
	release()
	if err := Down(t.Context(), opt); err != nil {
		t.Error(err)
	}
}
