
run "apply" {
  variables {
    prefect_api_key = "pnu_key"
  }
  assert {
    condition     = output.prefect_api_url == "http://prefect.example.com:4200/api"
    error_message = output.prefect_api_url
  }
}

run "another_host_on_the_open_port" {
  command = plan
  variables {
    prefect_api_key = "pnu_key"
    prefect_api_url = "http://prefect.example.org:4200/api"
  }
}

run "another_port" {
  command = plan
  variables {
    prefect_api_key = "pnu_key"
    prefect_api_url = "http://prefect.example.com:4201/api"
  }
  expect_failures = [aws_ecs_task_definition.worker]
}
