package config

import "testing"

func TestWithVariables(t *testing.T) {
	const account, workspace = "11111111-1111-4111-8111-111111111111", "22222222-2222-4222-8222-222222222222"
	env := loadOne(t, "prefect: {account_id: "+account+", workspace_id: "+workspace+"}\nlogs: {kms_key_arn: 'arn:aws:kms:us-east-1:123456789012:key/1'}")
	deploy := func(values map[string]string) (*Environment, Problems) {
		return env.WithVariables(func(name string) (string, string) { return values[name], "TF_VAR_" + name })
	}

	// GIVEN no variable THEN nothing changes
	if deployed, problems := deploy(nil); len(problems) > 0 || deployed.Prefect != env.Prefect || deployed.Region != env.Region {
		t.Errorf("%+v, %v", deployed.Prefect, problems)
	}
	// WHEN the URL is given THEN it wins over the ids of the file, which stay as they are
	deployed, problems := deploy(map[string]string{"prefect_api_url": "https://prefect.example.com/api/"})
	if len(problems) > 0 || deployed.Prefect.APIURL != "https://prefect.example.com/api" || deployed.Prefect.AccountID != "" || env.Prefect.AccountID != account {
		t.Errorf("%+v, %v", deployed.Prefect, problems)
	}
	// WHEN the region is given THEN what the file says is judged by it
	_, problems = deploy(map[string]string{"aws_region": "eu-west-1"})
	if len(problems) != 1 || problems[0].Key != "logs.kms_key_arn" || problems[0].Line != 2 {
		t.Errorf("got %v, want a key of another region", problems)
	}
	// WHEN a variable is wrong THEN it is named, and not the file
	_, problems = deploy(map[string]string{"prefect_account_id": "me"})
	if len(problems) != 1 || problems[0].File != "TF_VAR_prefect_account_id" || problems[0].Value != "me" || problems[0].Line != 0 {
		t.Errorf("got %v, want one of the variable", problems)
	}
}
