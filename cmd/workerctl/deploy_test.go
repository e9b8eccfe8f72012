package main

import (
	"context"
	"errors"
	"io"
	"strings"
	"testing"
)

func TestOnlyYesIsApproval(t *testing.T) {
	for input, want := range map[string]string{"yes\n": "yes", " yes \r\n": "yes", "y\n": "y", "": "", "yes": "yes"} {
		if got, err := readLine(t.Context(), strings.NewReader(input)); err != nil || got != want {
			t.Errorf("%q: %q, %v, want %q", input, got, err, want)
		}
	}
	// WHEN Ctrl-C is pressed at the prompt THEN it is not waited for an answer
	ctx, interrupt := context.WithCancel(t.Context())
	interrupt()
	in, _ := io.Pipe()
	if _, err := readLine(ctx, in); !errors.Is(err, context.Canceled) {
		t.Errorf("got %v", err)
	}
}
