package supervise

import (
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/applicationautoscaling/types"
)

func TestAdjustment(t *testing.T) {
	step := func(low, high *float64, change int32) types.StepAdjustment {
		return types.StepAdjustment{MetricIntervalLowerBound: low, MetricIntervalUpperBound: high, ScalingAdjustment: &change}
	}
	n := aws.Float64
	// GIVEN the steps of the stack, counted from the thresholds 1 and -1
	out := []types.StepAdjustment{step(n(0), n(1), 1), step(n(1), n(3), 2), step(n(3), n(9), 4), step(n(9), nil, 10)}
	in := []types.StepAdjustment{step(nil, n(0), -1)}
	for missing, want := range map[float64]int32{1: 1, 2: 2, 3: 2, 4: 4, 9: 4, 10: 10, 90: 10} {
		if got := adjustment(out, missing-1); got != want {
			t.Errorf("%v tasks missing: %d are started, want %d", missing, got, want)
		}
	}
	for missing, want := range map[float64]int32{-1: -1, -5: -1} {
		if got := adjustment(in, missing+1); got != want {
			t.Errorf("%v tasks missing: %d, want %d", missing, got, want)
		}
	}
	if got := adjustment(out, -1); got != 0 {
		t.Errorf("outside of all steps: %d, want 0", got)
	}
}
