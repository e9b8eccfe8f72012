package config

// FargateMemory returns the memory sizes in MiB that Fargate takes with a CPU size, none if it lacks that size.
func FargateMemory(cpu int) []int { return fargateMemory(cpu) }

// PrefectMajor returns the major version of Prefect in the worker's image, 3 if it is not known.
func (e *Environment) PrefectMajor() int {
	runtime, err := e.Worker.Runtime()
	if err != nil {
		return 3
	}
	return runtime.Major()
}
