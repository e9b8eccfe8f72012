
run "apply" {
  variables {
    prefect_api_key      = "pnu_key"
    prefect_account_id   = "11111111-1111-4111-8111-111111111111"
    prefect_workspace_id = "22222222-2222-4222-8222-222222222222"
  }
  assert {
    condition     = output.prefect_api_url == "https://api.prefect.cloud/api/accounts/11111111-1111-4111-8111-111111111111/workspaces/22222222-2222-4222-8222-222222222222"
    error_message = "the URL is not derived from the ids: ${output.prefect_api_url}"
  }
  assert {
    condition     = output.console_logs_url == "https://us-east-1.console.aws.amazon.com/cloudwatch/home?region=us-east-1#logsV2:log-groups/log-group/$252Fecs$252Fprefect-worker"
    error_message = output.console_logs_url
  }
  assert {
    condition     = aws_secretsmanager_secret_version.prefect_api_key.secret_string_wo == null
    error_message = "the key is kept"
  }
  assert {
    condition     = jsondecode(aws_ecs_task_definition.worker.container_definitions)[0].command[2] == "task=$${ECS_CONTAINER_METADATA_URI_V4##*/}; exec \"$@\" --name \"dev-worker-$${task%%-*}\""
    error_message = "the shell script did not arrive as written"
  }
  assert {
    condition     = length(distinct([aws_subnet.private_1.availability_zone, aws_subnet.private_2.availability_zone, aws_subnet.private_3.availability_zone])) == 3
    error_message = "the private subnets are not in three zones"
  }
  assert {
    condition     = jsondecode(aws_iam_role.execution.assume_role_policy).Statement[0].Condition.ArnLike["aws:SourceArn"] == "arn:aws:ecs:us-east-1:123456789012:*"
    error_message = "the trust policy is not limited to this account"
  }
}

run "the_url_wins_over_the_ids_and_loses_the_slash_at_its_end" {
  command = plan
  variables {
    prefect_api_key      = "pnu_key"
    prefect_api_url      = "https://prefect.example.com/api/"
    prefect_account_id   = "11111111-1111-4111-8111-111111111111"
    prefect_workspace_id = "22222222-2222-4222-8222-222222222222"
  }
  assert {
    condition     = output.prefect_api_url == "https://prefect.example.com/api"
    error_message = output.prefect_api_url
  }
}

run "ids_in_upper_case_in_china" {
  command = plan
  variables {
    prefect_api_key      = "pnu_key"
    prefect_account_id   = "AAAAAAAA-1111-4111-8111-111111111111"
    prefect_workspace_id = "22222222-2222-4222-8222-222222222222"
    aws_region           = "cn-north-1"
  }
  override_data {
    target = data.aws_partition.current
    values = { partition = "aws-cn" }
  }
  assert {
    condition     = output.prefect_api_url == "https://api.prefect.cloud/api/accounts/aaaaaaaa-1111-4111-8111-111111111111/workspaces/22222222-2222-4222-8222-222222222222"
    error_message = output.prefect_api_url
  }
  assert {
    condition     = startswith(output.console_logs_url, "https://cn-north-1.console.amazonaws.cn/cloudwatch/")
    error_message = output.console_logs_url
  }
}

run "the_sample_ids_and_the_account_in_the_singular" {
  command = plan
  variables {
    prefect_api_key      = "pnu_key"
    prefect_api_url      = "https://api.prefect.cloud/api/account/11111111-1111-4111-8111-111111111111/workspace/22222222-2222-4222-8222-222222222222"
    prefect_account_id   = "00000000-0000-0000-0000-000000000000"
    prefect_workspace_id = "00000000-0000-0000-0000-000000000000"
  }
  expect_failures = [var.prefect_api_url, var.prefect_account_id, var.prefect_workspace_id]
}

run "nothing_is_given" {
  command         = plan
  expect_failures = [aws_secretsmanager_secret_version.prefect_api_key, aws_ecs_task_definition.worker]
}

# All of them at once, because each run starts the provider anew.
run "values_that_cannot_be" {
  command = plan
  variables {
    aws_region           = "Frankfurt"
    prefect_api_key      = "pnu_key\n"
    prefect_api_url      = "https://app.prefect.cloud/api"
    prefect_account_id   = "me"
    prefect_workspace_id = "mine"
  }
  expect_failures = [
    var.aws_region, var.prefect_api_key, var.prefect_api_url, var.prefect_account_id, var.prefect_workspace_id,
  ]
}

run "half_an_api" {
  command = plan
  variables {
    prefect_api_key    = "pnu_key"
    prefect_account_id = "11111111-1111-4111-8111-111111111111"
  }
  expect_failures = [aws_ecs_task_definition.worker]
}

run "a_port_that_is_closed" {
  command = plan
  variables {
    prefect_api_key = "pnu_key"
    prefect_api_url = "https://prefect.example.com:4200/api"
  }
  expect_failures = [aws_ecs_task_definition.worker]
}

run "plain_http_is_port_80" {
  command = plan
  variables {
    prefect_api_key = "pnu_key"
    prefect_api_url = "http://prefect.example.com/api"
  }
  expect_failures = [aws_ecs_task_definition.worker]
}

run "a_region_with_two_zones" {
  command = plan
  variables {
    prefect_api_key = "pnu_key"
    prefect_api_url = "https://prefect.example.com/api"
  }
  override_data {
    target = data.aws_availability_zones.available
    values = { names = ["us-west-1a", "us-west-1c"] }
  }
  expect_failures = [data.aws_availability_zones.available]
}
