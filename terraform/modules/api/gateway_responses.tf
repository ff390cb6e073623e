# What API Gateway answers without calling a function, in the functions' words: those of shared/problems.py and
# shared/endpoint.py, with which tests/terraform/test_gateway_templates.py compares them. They are part of the body, because
# an import drops every gateway response that is not.

locals {
  # As API Gateway maps headers: 'text' in quotes, or what it knows of the request.
  common_headers = {
    Access-Control-Allow-Origin   = "'*'"
    Access-Control-Expose-Headers = "'X-Request-Id, Retry-After, Idempotency-Replayed'"
    Cache-Control                 = "'no-store'"
    X-Content-Type-Options        = "'nosniff'"
    X-Request-Id                  = "context.requestId"
  }

  problems = {
    bad_request = { # only API Gateway's: all other 4xx
      status = 400, title = "Bad request", error = "Bad request"
      detail = "API Gateway could not take the request as it was sent."
    }
    malformed_body = {
      status = 400, title = "Malformed body", error = "Invalid JSON body"
      detail = "The body must be a JSON object."
    }
    unauthenticated = {
      status = 401, title = "Unauthenticated", error = "Unauthenticated"
      detail = "Send a valid token in the header Authorization: Bearer, with the token behind it."
    }
    forbidden = {
      status = 403, title = "Forbidden", error = "Forbidden"
      detail = "Send a valid API key in the header x-api-key."
    }
    not_allowed = {
      status = 403, title = "Not allowed", error = "Not allowed"
      detail = "Nobody vouches for the token that came with this request: send another one."
    }
    endpoint_not_found = {
      status = 404, title = "Endpoint not found", error = "Endpoint not found"
      detail = "No operation has this path and method."
    }
    body_too_large = {
      status = 413, title = "Request body too large", error = "Request body too large"
      detail = "The body may have 65536 bytes at most." # the functions' limit; API Gateway's own is 10 MB
    }
    unsupported_media_type = {
      status = 415, title = "Unsupported media type", error = "Unsupported media type"
      detail = "Send a JSON body in UTF-8 with the header Content-Type: application/json."
    }
    too_many_requests = {
      status = 429, title = "Too many requests", error = "Too many requests", retry_after_seconds = 1
      detail = "The rate limit is reached. Wait as long as Retry-After says."
    }
    internal_error = {
      status = 500, title = "Internal error", error = "Internal server error"
      detail = "The request could not be answered. It was logged under the requestId of this reply."
    }
    unavailable = {
      status = 503, title = "Service unavailable", error = "Service unavailable", retry_after_seconds = 1
      detail = "The leaderboard cannot be reached at the moment. Wait as long as Retry-After says."
    }
  }

  # Which problem each type of gateway response is. Where there is no authorizer, its types never come.
  problem_of = {
    DEFAULT_4XX             = { code = "bad_request" }
    BAD_REQUEST_PARAMETERS  = { code = "bad_request" }
    BAD_REQUEST_BODY        = { code = "malformed_body" }
    INVALID_API_KEY         = { code = "forbidden" }
    UNAUTHORIZED            = { code = "unauthenticated" }
    ACCESS_DENIED           = { code = "not_allowed" } # our authorizer's policies deny nothing
    WAF_FILTERED            = { code = "forbidden", detail = "The firewall refused the request: its body has more than ${local.largest_body_bytes} bytes, it looks like an attack, or there were too many from this address." }
    RESOURCE_NOT_FOUND      = { code = "endpoint_not_found" }
    REQUEST_TOO_LARGE       = { code = "body_too_large" }
    UNSUPPORTED_MEDIA_TYPE  = { code = "unsupported_media_type" }
    THROTTLED               = { code = "too_many_requests" }
    QUOTA_EXCEEDED          = { code = "too_many_requests", retry_after_seconds = 3600, detail = "The quota of this API key is used up. It is renewed with the month." }
    DEFAULT_5XX             = { code = "internal_error" }
    API_CONFIGURATION_ERROR = { code = "internal_error" }

    # This is what a path or method that does not exist gets. Nothing here is signed, so API Gateway looks at a signature
    # only if it found no method: a bearer token on an unknown path may get one of the other two.
    MISSING_AUTHENTICATION_TOKEN = { code = "endpoint_not_found" }
    INVALID_SIGNATURE            = { code = "endpoint_not_found" }
    EXPIRED_TOKEN                = { code = "endpoint_not_found" }

    # By default a 504, which is not in the contract: there, a 503 means that nobody knows whether it was done.
    INTEGRATION_TIMEOUT = { code = "unavailable" }
    INTEGRATION_FAILURE = { code = "unavailable" }

    # By default a 500. An authorizer that is broken, slow or throttled lets nobody in.
    AUTHORIZER_FAILURE             = { code = "unavailable" }
    AUTHORIZER_CONFIGURATION_ERROR = { code = "unavailable" }
  }

  gateway_responses = {
    for type, row in { for type, own in local.problem_of : type => merge(local.problems[own.code], own) } : type => {
      # Always given: otherwise the default response's would be taken, and the body would say another.
      statusCode = tostring(row.status)

      responseParameters = {
        for name, value in merge(
          local.common_headers,
          { Content-Type = "'application/problem+json'" },
          { for key, seconds in row : "Retry-After" => "'${seconds}'" if key == "retry_after_seconds" },
          # Here it keeps its name. API Gateway would rename a function's.
          { for status in [row.status] : "WWW-Authenticate" => "'Bearer'" if status == 401 },
        ) : "gatewayresponse.header.${name}" => value
      }

      # Every client that asks for no other type gets this one, with the Content-Type above. Nothing of the request's own
      # text goes in, no error messages or validation details: these templates cannot escape, and the function names
      # faults better.
      responseTemplates = {
        "application/json" = jsonencode({
          type      = "urn:valkey-leaderboard:problem:${replace(row.code, "_", "-")}"
          title     = row.title
          status    = row.status
          detail    = row.detail
          instance  = "urn:uuid:$context.requestId"
          requestId = "$context.requestId"
          code      = row.code
          error     = row.error
        })
      }
    }
  }
}
