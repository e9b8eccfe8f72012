
variables {
  prefect_api_key = "pnu_key"
}

# A VPC in which all is as it should be: one subnet has a route table of its own, the other
# follows the main one.
override_data {
  target = data.aws_vpc.existing
  values = { enable_dns_support = true, enable_dns_hostnames = true }
}
override_data {
  target = data.aws_subnet.existing_1
  values = { vpc_id = "vpc-0123456789abcdef0", availability_zone = "us-east-1a", availability_zone_id = "use1-az1", available_ip_address_count = 1 }
}
override_data {
  target = data.aws_subnet.existing_2
  values = { vpc_id = "vpc-0123456789abcdef0", availability_zone = "us-east-1b", availability_zone_id = "use1-az2", available_ip_address_count = 1 }
}
override_data {
  target = data.aws_route_tables.existing_main
  values = { ids = ["rtb-main"] }
}
override_data {
  target = data.aws_route_tables.existing_1
  values = { ids = ["rtb-1"] }
}
override_data {
  target = data.aws_route_tables.existing_2
  values = { ids = [] }
}
override_data {
  target = data.aws_route_table.existing_1
  values = { routes = [{ cidr_block = "10.0.0.0/16", gateway_id = "local" }, { cidr_block = "0.0.0.0/0", transit_gateway_id = "tgw-1", gateway_id = "" }] }
}
override_data {
  target = data.aws_route_table.existing_2
  values = { routes = [{ cidr_block = "0.0.0.0/0", nat_gateway_id = "nat-1", gateway_id = "" }] }
}
override_data {
  target = data.aws_ecs_clusters.existing
  values = { cluster_arns = ["arn:aws:ecs:us-east-1:123456789012:cluster/other", "arn:aws:ecs:us-east-1:123456789012:cluster/company"] }
}
override_data {
  target = data.aws_cloudwatch_log_groups.existing
  values = { log_group_names = ["/company/flows", "/company/flows-2"] }
}

run "all_is_there" {
  assert {
    condition     = data.aws_route_table.existing_1.route_table_id == "rtb-1" && data.aws_route_table.existing_2.route_table_id == "rtb-main"
    error_message = "route tables ${data.aws_route_table.existing_1.route_table_id} and ${data.aws_route_table.existing_2.route_table_id}"
  }
  assert {
    condition     = output.ecs_cluster_arn == "arn:aws:ecs:us-east-1:123456789012:cluster/company" && jsondecode(output.execution_role_policy).Statement[2].Resource[0] == "arn:aws:logs:us-east-1:123456789012:log-group:/company/flows:*"
    error_message = output.execution_role_policy
  }
}

# What is wrong with a VPC, as much at once as does not hide something else.
run "what_tasks_cannot_use" {
  command = plan
  override_data {
    target = data.aws_vpc.existing
    values = { enable_dns_support = true, enable_dns_hostnames = false }
  }
  override_data {
    target = data.aws_ecs_clusters.existing
    values = { cluster_arns = ["arn:aws:ecs:us-east-1:123456789012:cluster/the-company"] }
  }
  override_data {
    target = data.aws_cloudwatch_log_groups.existing
    values = { log_group_names = ["/company/flows-2"] }
  }
  override_data { # in a zone without Fargate
    target = data.aws_subnet.existing_2
    values = { vpc_id = "vpc-0123456789abcdef0", availability_zone = "us-east-1e", availability_zone_id = "use1-az3", available_ip_address_count = 1 }
  }
  expect_failures = [data.aws_vpc.existing, data.aws_ecs_clusters.existing, data.aws_cloudwatch_log_groups.existing, data.aws_subnet.existing_2]
}

run "a_subnet_elsewhere_and_a_route_to_the_internet" {
  command = plan
  override_data {
    target = data.aws_subnet.existing_2
    values = { vpc_id = "vpc-2", availability_zone = "us-east-1b", availability_zone_id = "use1-az2", available_ip_address_count = 1 }
  }
  override_data {
    target = data.aws_route_table.existing_1
    values = { routes = [{ cidr_block = "0.0.0.0/0", gateway_id = "igw-1" }] }
  }
  expect_failures = [data.aws_subnet.existing_2, data.aws_route_table.existing_1]
}

run "a_full_subnet_and_no_default_route" {
  command = plan
  override_data {
    target = data.aws_subnet.existing_2
    values = { vpc_id = "vpc-0123456789abcdef0", availability_zone = "us-east-1b", availability_zone_id = "use1-az2", available_ip_address_count = 0 }
  }
  override_data {
    target = data.aws_route_table.existing_1
    values = { routes = [{ cidr_block = "10.0.0.0/8", transit_gateway_id = "tgw-1", gateway_id = "" }] }
  }
  expect_failures = [data.aws_subnet.existing_2, data.aws_route_table.existing_1]
}

run "a_zone_twice" {
  command = plan
  override_data {
    target = data.aws_subnet.existing_2
    values = { vpc_id = "vpc-0123456789abcdef0", availability_zone = "us-east-1a", availability_zone_id = "use1-az1", available_ip_address_count = 1 }
  }
  expect_failures = [data.aws_subnet.existing_2]
}
