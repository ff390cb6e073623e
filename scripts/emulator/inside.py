"""LocalStack's own process: LocalStack 4.9.2, with repairs of what our Terraform needs and it gets wrong.

Each repair's docstring names the fault. A repair goes once LocalStack gets it right; all else is LocalStack as it is.
"""

from __future__ import annotations

import functools
import io
import json
import os
import re
import signal
import threading
import time
from collections.abc import Callable
from typing import Any

from localstack.http import Response  # type: ignore[import-not-found]
from localstack.runtime import main as runtime  # type: ignore[import-not-found]
from localstack.services.apigateway.helpers import get_moto_rest_api  # type: ignore[import-not-found]
from localstack.services.apigateway.legacy.provider import ApigatewayProvider  # type: ignore[import-not-found]
from localstack.services.apigateway.models import apigateway_stores  # type: ignore[import-not-found]
from localstack.services.apigateway.next_gen.execute_api import (  # type: ignore[import-not-found]
    gateway_response,
    handlers,
    parameters_mapping,
)
from localstack.services.apigateway.next_gen.execute_api.handlers.gateway_exception import (  # type: ignore[import-not-found]
    GatewayExceptionHandler,
)
from localstack.services.apigateway.next_gen.provider import (  # type: ignore[import-not-found]
    ApigatewayNextGenProvider,
)
from localstack.services.cloudwatch.provider_v2 import CloudwatchProvider  # type: ignore[import-not-found]
from localstack.services.lambda_ import api_utils  # type: ignore[import-not-found]
from localstack.services.lambda_.provider import LambdaProvider  # type: ignore[import-not-found]
from moto.ec2.models import security_groups

from scripts.emulator import authorizing, watching

END_SECONDS = 5
GATEWAY_RESPONSES = "x-amazon-apigateway-gateway-responses"


def import_gateway_responses() -> None:
    """An OpenAPI import ignores the document's gateway responses; on AWS it makes them, and removes all others."""
    put_rest_api = ApigatewayProvider.put_rest_api

    @functools.wraps(put_rest_api)
    def importing(self: Any, context: Any, request: Any) -> Any:
        document = request["body"].read()
        imported = put_rest_api(self, context, {**request, "body": io.BytesIO(document)})
        store = apigateway_stores[context.account_id][context.region]
        store.rest_apis[request["restApiId"]].gateway_responses = {
            kind: gateway_response.build_gateway_response(
                kind,
                settings.get("statusCode"),
                settings.get("responseParameters"),
                settings.get("responseTemplates"),
                default_response=False,
            )
            for kind, settings in json.loads(document).get(GATEWAY_RESPONSES, {}).items()
        }
        return imported

    ApigatewayProvider.put_rest_api = importing


def render_gateway_responses() -> None:
    """LocalStack uses only the status of a gateway response. Templates know only `$context.…`, as on AWS."""
    create = GatewayExceptionHandler.create_exception_response

    def rendered(self: Any, exception: Any, context: Any) -> Response:
        response = create(self, exception, context)
        ours = gateway_response.get_gateway_response_or_default(
            exception.type, context.deployment.rest_api.gateway_responses
        )
        if not ours["responseParameters"]:
            return response
        variables = context.context_variables
        template = ours["responseTemplates"]["application/json"]
        response.set_data(re.sub(r"\$context\.([\w.]+)", lambda found: str(_dig(variables, found[1])), template))
        mapper = parameters_mapping.ParametersMapper()
        for name, value in ours["responseParameters"].items():
            mapped = mapper._retrieve_parameter_from_variables_and_static(value, variables, {})
            response.headers[name.removeprefix("gatewayresponse.header.")] = mapped
        return response

    GatewayExceptionHandler.create_exception_response = rendered


def call_authorizers() -> None:
    """A method's authorizer is never called, so no function hears who a token is of, and ours let nobody in."""
    handlers.preprocess_request.append(authorizing.Authorize())


def update_stages_one_by_one() -> None:
    """Of two updates of a stage at once, one is lost, and the settings of a single method cannot be removed."""
    update_stage = ApigatewayNextGenProvider.update_stage
    lock = threading.Lock()

    @functools.wraps(update_stage)
    def updating(self: Any, context: Any, patch_operations: Any = None, **given: Any) -> Any:
        with lock:
            stages = get_moto_rest_api(context, given["rest_api_id"]).stages
            settings = stages[given["stage_name"]].method_settings if given["stage_name"] in stages else {}
            wanted = [
                change
                for change in patch_operations or ()
                if change["op"] != "remove" or settings.pop(change["path"].strip("/"), None) is None
            ]
            return update_stage(self, context, patch_operations=wanted, **given)

    ApigatewayNextGenProvider.update_stage = updating


def keep_tags_of_alarms() -> None:
    """An alarm loses the tags that it is made with, so every plan wants to add them again."""

    def tagging(put: Callable[..., None]) -> Callable[..., None]:
        @functools.wraps(put)
        def tagged(self: Any, context: Any, request: Any) -> None:
            tags = request.pop("Tags", [])
            put(self, context, request)
            place = f"{context.partition}:cloudwatch:{context.region}:{context.account_id}"
            store = self.get_store(context.account_id, context.region)
            store.TAGS.tag_resource(f"arn:{place}:alarm:{request['AlarmName']}", tags)

        return tagged

    CloudwatchProvider.put_metric_alarm = tagging(CloudwatchProvider.put_metric_alarm)
    CloudwatchProvider.put_composite_alarm = tagging(CloudwatchProvider.put_composite_alarm)


def keep_descriptions_of_rules() -> None:
    """A security group's rule for another group loses its description, so every plan wants to add it again."""
    rules: Any = security_groups.SecurityGroupRule
    rules.description = property(lambda rule: rule.ip_range.get("Description") or rule.source_group.get("Description"))


def keep_keys_of_functions() -> None:
    """A function loses the key that its environment is encrypted with, so every plan wants to set it again."""
    keys: dict[str, str] = {}
    map_config_out = api_utils.map_config_out

    def remembering(operation: Callable[..., Any]) -> Callable[..., Any]:
        @functools.wraps(operation)
        def remembered(self: Any, context: Any, request: Any) -> Any:
            if "KMSKeyArn" in request:
                keys[request["FunctionName"]] = request["KMSKeyArn"]
            return operation(self, context, request)

        return remembered

    def with_key(version: Any, *arguments: Any, **named: Any) -> Any:
        configuration = map_config_out(version, *arguments, **named)
        if key := keys.get(version.id.function_name):
            configuration["KMSKeyArn"] = key
        return configuration

    LambdaProvider.create_function = remembering(LambdaProvider.create_function)
    LambdaProvider.update_function_configuration = remembering(LambdaProvider.update_function_configuration)
    api_utils.map_config_out = with_key


REPAIRS: tuple[Callable[[], None], ...] = (
    import_gateway_responses,
    render_gateway_responses,
    call_authorizers,
    update_stages_one_by_one,
    keep_descriptions_of_rules,
    keep_keys_of_functions,
    *watching.REPAIRS,
    keep_tags_of_alarms,
)


def _dig(values: Any, path: str) -> Any:
    for name in path.split("."):
        values = (values or {}).get(name)
    return values


def _end_with_whoever_started_us() -> None:
    """Standard input is a pipe that our parent holds and never writes to: it ends when the parent does."""
    os.read(0, 1)  # and not sys.stdin, whose lock this thread would still hold when the interpreter ends
    os.kill(os.getpid(), signal.SIGTERM)
    time.sleep(END_SECONDS)
    os._exit(1)


if __name__ == "__main__":
    for repair in REPAIRS:
        repair()
    threading.Thread(target=_end_with_whoever_started_us, daemon=True).start()
    runtime.main()
