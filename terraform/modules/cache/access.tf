# access.yaml as access strings for ElastiCache, in the order of Valkey's own ACL LIST: keys, then commands.

locals {
  access = yamldecode(file("${path.module}/access.yaml"))

  access_strings = {
    for role, grants in local.access : role => join(" ", concat(
      ["on"], # otherwise the user would be off
      [for key in grants.keys : "~${key}"],
      ["-@all"],
      [for command in grants.commands : "+${command}"],
    ))
  }
}
