package config

// WithVariables returns the environment as it is deployed with Terraform variables, and what is
// wrong with it then. lookup gives the value of a variable, and in words where it is set;
// an empty value means that it is not, as in the stack.
func (e *Environment) WithVariables(lookup func(name string) (value, where string)) (*Environment, Problems) {
	deployed := *e
	deployed.source.variables = map[string]string{}
	for _, o := range options() {
		if name := o.Variable(); name != "" {
			if value, where := lookup(name); value != "" {
				o.in(&deployed).SetString(value)
				deployed.source.variables[o.Key] = where
			}
		}
	}
	if deployed.Prefect.APIURL != "" && len(deployed.source.variables) > 0 {
		// The URL wins over the ids, wherever they are set. A file that sets both is refused.
		deployed.Prefect.AccountID, deployed.Prefect.WorkspaceID = "", ""
	}
	deployed.normalize()
	return &deployed, deployed.Validate()
}
