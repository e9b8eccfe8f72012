package testtools

import (
	"context"
	"errors"
	"testing"
)

// NoError ends the test if one of the errors is not nil.
func NoError(t testing.TB, errs ...error) {
	t.Helper()
	if err := errors.Join(errs...); err != nil {
		t.Fatal(err)
	}
}

// Call calls an operation of AWS, which must succeed.
func Call[In, Out, Options any](t testing.TB, operation func(context.Context, *In, ...func(*Options)) (*Out, error), in *In) *Out {
	t.Helper()
	out, err := operation(t.Context(), in)
	NoError(t, err)
	return out
}
