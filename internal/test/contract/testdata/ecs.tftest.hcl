
# The secret exists, so no key is asked for.
run "apply" {
  assert {
    condition     = output.prefect_api_url == "https://api.prefect.cloud/api/accounts/11111111-1111-4111-8111-111111111111/workspaces/22222222-2222-4222-8222-222222222222"
    error_message = output.prefect_api_url
  }
  assert {
    condition     = output.secret_arn == "arn:aws:secretsmanager:us-east-1:123456789012:secret:prefect-AbCdEf"
    error_message = output.secret_arn
  }
  assert {
    condition     = length([for s in jsondecode(aws_iam_role_policy.task.policy).Statement : s if s.Sid == "PassRoles"]) == 1
    error_message = "the worker may not pass roles"
  }
}
