package ecstask

import (
	"context"
	"errors"
	"maps"
	"path/filepath"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
)

// fakeService is a service that a test changes while Run keeps its tasks.
type fakeService struct {
	mu        sync.Mutex
	service   Service
	err       error
	protected []string
	tasks     map[string]string // those that run, and their definitions
}

func (f *fakeService) change(do func()) {
	f.mu.Lock()
	defer f.mu.Unlock()
	do()
}

func (f *fakeService) running() map[string]string {
	f.mu.Lock()
	defer f.mu.Unlock()
	return maps.Clone(f.tasks)
}

// await waits until as many tasks of each definition run.
func (f *fakeService) await(t *testing.T, want map[string]int) map[string]string {
	t.Helper()
	for end := time.Now().Add(limit); ; time.Sleep(20 * time.Millisecond) {
		now, count := f.running(), map[string]int{}
		for _, definition := range now {
			count[definition]++
		}
		if maps.Equal(count, want) {
			return now
		}
		if time.Now().After(end) {
			t.Fatalf("the tasks are %v, want %v", count, want)
		}
	}
}

func TestServiceFollowsItsCountAndDefinition(t *testing.T) {
	// GIVEN a service of two tasks
	f := &fakeService{tasks: map[string]string{}}
	task := Options{Definition: definition("exec sleep 600", nil), Dir: t.TempDir(), FirstDelay: 10 * time.Millisecond, Image: nowhere,
		Notify: func(e Event) {
			f.change(func() {
				switch e.Kind {
				case Started:
					f.tasks[e.TaskID] = filepath.Base(e.Definition)
				case Stopped:
					delete(f.tasks, e.TaskID)
				}
			})
		}}
	f.service = Service{Task: task, Count: 2, Protected: func(_ context.Context, ids []string) ([]string, error) {
		f.mu.Lock()
		defer f.mu.Unlock()
		return slices.Clone(f.protected), nil
	}}
	ctx, stop := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() {
		done <- Run(ctx, func(context.Context) (Service, error) {
			f.mu.Lock()
			defer f.mu.Unlock()
			return f.service, f.err
		})
	}()
	two := f.await(t, map[string]int{"f:3": 2})
	// WHEN the count is lower and one is protected THEN the other one ends
	kept := slices.Sorted(maps.Keys(two))[0]
	f.change(func() { f.protected, f.service.Count = []string{kept}, 1 })
	if now := f.await(t, map[string]int{"f:3": 1}); now[kept] == "" {
		t.Errorf("the protected task %s has ended", kept)
	}
	// AND a count of 0 leaves it
	f.change(func() { f.service.Count = 0 })
	time.Sleep(2 * readInterval)
	f.await(t, map[string]int{"f:3": 1})
	// WHEN another definition is deployed THEN its tasks come, and the protected one stays
	next := task
	next.Definition.TaskDefinitionArn = aws.String("arn:aws:ecs:us-east-1:123456789012:task-definition/f:4")
	f.change(func() { f.service.Task, f.service.Count = next, 2 })
	f.await(t, map[string]int{"f:3": 1, "f:4": 2})
	// WHEN the service cannot be read THEN nothing changes
	f.change(func() { f.err, f.protected = errors.New("away"), nil })
	time.Sleep(2 * readInterval)
	f.await(t, map[string]int{"f:3": 1, "f:4": 2})
	// WHEN the protection ends THEN so does the task
	f.change(func() { f.err = nil })
	f.await(t, map[string]int{"f:4": 2})
	// WHEN Run ends THEN all end
	stop()
	if err := <-done; err != nil || len(f.running()) != 0 {
		t.Errorf("%v, left: %v", err, f.running())
	}
}
