package run

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
)

// A run's folder can be anywhere (--dir): it must have been empty when a run first used it, or hold
// the state of one. What is removed is what is named here; everything else is kept and reported.

// made returns the files and folders of a run beside its state.
func (r *run) made() []string {
	return []string{
		r.emulatorDir(), r.prefectDir(), string(r.tasks()), string(r.flowTasks()), string(r.serverTasks()), r.flowDir(), r.workspaceDir(),
		r.deployLog(), r.supervisorLog(), r.serverLog(),
	}
}

// claim makes the folder that of a run of the environment, or finds the run that it
// holds, and keeps other commands off it until release is called.
func (r *run) claim(environment string) (release func(), err error) {
	_, missing := os.Stat(r.dir)
	if err := os.MkdirAll(r.dir, 0o755); err != nil {
		return nil, fmt.Errorf("make the folder of the local run: %w; name another one with --dir", err)
	}
	if release, err = r.lock(); err != nil {
		return nil, err
	}
	if err := r.take(environment, missing != nil); err != nil {
		release()
		return nil, err
	}
	return release, nil
}

// take is claim for a folder that is there and locked.
func (r *run) take(environment string, made bool) error {
	if err := r.load(environment); !errors.Is(err, errNoRun) {
		return err
	}
	entries, err := os.ReadDir(r.dir)
	if err != nil {
		return fmt.Errorf("read the folder of the local run: %w; name another one with --dir", err)
	}
	if len(entries) > 0 {
		return fmt.Errorf("%s holds %s, and no local run made it: only a folder that is new, empty or of a local run is used, because such a run removes its files there; name another one with --dir, or move away what is in it",
			r.dir, entries[0].Name())
	}
	if err := r.update(func(s *State) { *s = State{Environment: environment, MadeFolder: made} }); err != nil {
		return fmt.Errorf("%w; name another folder with --dir", err)
	}
	return nil
}

// find opens the run that the folder holds for one command alone, or returns errNoRun.
func (r *run) find(environment string) (release func(), err error) {
	if release, err = r.lock(); err != nil {
		return nil, err
	}
	if err := r.load(environment); err != nil {
		release()
		return nil, err
	}
	return release, nil
}

// lock keeps other commands off the folder. What is locked is the folder itself, so that no
// file need be left beside it.
func (r *run) lock() (release func(), err error) {
	real, err := filepath.EvalSymlinks(r.dir)
	if errors.Is(err, fs.ErrNotExist) || errors.Is(err, syscall.ENOTDIR) {
		return nil, errNoRun
	}
	if err != nil {
		return nil, fmt.Errorf("the folder of the local run: %w", err)
	}
	r.dir = real
	folder, err := os.Open(r.dir)
	if err != nil {
		return nil, fmt.Errorf("the folder of the local run: %w; name another one with --dir", err)
	}
	err = syscall.Flock(int(folder.Fd()), syscall.LOCK_EX|syscall.LOCK_NB)
	if err == nil {
		return func() { folder.Close() }, nil
	}
	folder.Close()
	if errors.Is(err, syscall.EWOULDBLOCK) {
		return nil, errors.New("another workerctl works on this local run; wait for it or interrupt it")
	}
	return nil, fmt.Errorf("lock the folder of the local run: %w", err)
}

// clear removes what runs made, but for the state. It returns what else is there.
func (r *run) clear() (left []string, err error) {
	root, err := os.OpenRoot(r.dir) // nothing outside can be reached, whatever links there are
	if err != nil {
		return nil, fmt.Errorf("clear the folder of the local run: %w", err)
	}
	defer root.Close()
	entries, err := fs.ReadDir(root.FS(), ".")
	errs := []error{err}
	for _, entry := range entries {
		switch name := entry.Name(); {
		case slices.Contains(r.made(), filepath.Join(r.dir, name)), strings.HasPrefix(name, "."+filepath.Base(r.statePath())+"."):
			errs = append(errs, root.RemoveAll(name))
		case name != filepath.Base(r.statePath()):
			left = append(left, name)
		}
	}
	if err := errors.Join(errs...); err != nil {
		return nil, fmt.Errorf("clear the folder of the local run: %w", err)
	}
	return left, nil
}

// remove clears the folder and ends the run. A folder that a run made goes too, unless
// something else is in it.
func (r *run) remove() (left []string, err error) {
	if left, err = r.clear(); err != nil {
		return nil, err
	}
	if err := os.Remove(r.statePath()); err != nil {
		return nil, fmt.Errorf("remove the state of the local run: %w", err)
	}
	if r.state.MadeFolder && len(left) == 0 {
		if err := os.Remove(r.dir); err != nil {
			return nil, fmt.Errorf("remove the folder of the local run: %w", err)
		}
	}
	return left, nil
}
