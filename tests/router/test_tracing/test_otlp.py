"""The way to the collector: straight, whatever the environment says, and one in trouble is no trouble for a run."""

from __future__ import annotations

import json
import logging
import os
import socket
import threading
import time
from pathlib import Path

import pytest
from opentelemetry import metrics as otel_metrics
from opentelemetry import trace as otel_trace
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from router.tracing import observer, otlp
from tests.router.test_tracing.collector import Collector, Story, a_run, plain

CANARY = "CANARY"


def test_a_collector_that_is_down_costs_nothing_and_is_told_once(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(otlp, "CLOSE_S", 0.4)
    with socket.socket() as taken:  # bound and not listening: whoever connects is refused
        taken.bind(("127.0.0.1", 0))
        told = Story(observer(f"http://127.0.0.1:{taken.getsockname()[1]}"))
        began_s = time.monotonic()
        for _ in range(300):
            a_run(told)
        assert time.monotonic() - began_s < 3  # 0.15 s where it was measured
        began_s = time.monotonic()
        told.close()
    assert time.monotonic() - began_s < 1.5
    assert [record.message for record in caplog.records] == ["collector did not take traces or metrics"]


def test_a_collector_that_hangs_keeps_nobody(
    collector: Collector, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(otlp, "CLOSE_S", 0.4)
    monkeypatch.setattr(otlp, "BATCH_S", 0.01)
    collector.hangs = True
    told = a_run(Story(observer(collector.url)))
    collector.wait_for("/v1/traces")  # the exporter hangs from here on
    began_s = time.monotonic()
    for _ in range(1000):  # more spans than may wait
        a_run(told)
    assert (
        time.monotonic() - began_s < 5
    )  # 0.3 s where it was measured; one wait for the collector takes 2 s, and there would be many
    began_s = time.monotonic()
    told.close()
    assert time.monotonic() - began_s < 1.5
    sent = len(collector.requests)
    collector.leaving.set()
    _until_gone("Otel")
    assert len(collector.requests) == sent
    assert len([record for record in caplog.records if record.levelno >= logging.WARNING]) <= 1


def _until_gone(prefix: str) -> None:
    deadline_s = time.monotonic() + 10
    while any(thread.name.startswith(prefix) for thread in threading.enumerate()):
        assert time.monotonic() < deadline_s, "its threads are still there"
        time.sleep(0.01)


def test_a_collector_in_trouble_is_told_once_and_so_is_its_recovery(
    collector: Collector, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "router")
    monkeypatch.setattr(otlp, "BATCH_S", 0.01)
    collector.status = 500
    told = a_run(Story(observer(collector.url)))
    collector.wait_for("/v1/traces")
    a_run(told)
    collector.wait_for("/v1/traces", 2)
    collector.status = 200
    refused = len(collector.requests)
    told("state", state="running")
    a_run(told).close()
    assert len(collector.requests) > refused
    assert [(record.levelname, record.message) for record in caplog.records] == [
        ("WARNING", "collector did not take traces or metrics"),
        ("INFO", "collector took traces or metrics again"),
    ]
    assert [vars(record).get("why") for record in caplog.records] == ["status 500", None]


def test_nothing_follows_a_redirection(collector: Collector, other: Collector) -> None:
    collector.status, collector.elsewhere = 307, f"{other.url}/v1/traces"
    a_run(Story(observer(collector.url))).close()
    assert collector.requests
    assert other.requests == []


def test_no_variable_redirects_the_data_adds_to_it_or_switches_it_off(
    collector: Collector, other: Collector, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    away, headers = f"{other.url}/{CANARY}", f"x-canary={CANARY},authorization=Bearer {CANARY},user-agent={CANARY}"
    for signal in ("", "TRACES_", "METRICS_"):
        for name, value in {
            "ENDPOINT": away,
            "HEADERS": headers,
            "COMPRESSION": "gzip",
            "TIMEOUT": "0.000001",
            "CERTIFICATE": str(tmp_path / "none.pem"),
            "CLIENT_KEY": str(tmp_path / "none.key"),
            "CLIENT_CERTIFICATE": str(tmp_path / "none.pem"),
        }.items():
            monkeypatch.setenv(f"OTEL_EXPORTER_OTLP_{signal}{name}", value)
    for name, value in {
        "OTEL_SDK_DISABLED": "true",
        "OTEL_SERVICE_NAME": CANARY,
        "OTEL_RESOURCE_ATTRIBUTES": f"canary={CANARY},host.name={CANARY}",
        "OTEL_EXPERIMENTAL_RESOURCE_DETECTORS": "process,host,os",
        "OTEL_TRACES_SAMPLER": "always_off",
        "OTEL_SPAN_ATTRIBUTE_COUNT_LIMIT": "0",
        "OTEL_ATTRIBUTE_VALUE_LENGTH_LIMIT": "1",
        "OTEL_BSP_MAX_QUEUE_SIZE": "1",
        "OTEL_BSP_MAX_EXPORT_BATCH_SIZE": "1",
        "OTEL_PYTHON_SDK_INTERNAL_METRICS_ENABLED": "true",
        "OTEL_EXPORTER_OTLP_METRICS_TEMPORALITY_PREFERENCE": "DELTA",
        "OTEL_EXPORTER_OTLP_METRICS_DEFAULT_HISTOGRAM_AGGREGATION": "base2_exponential_bucket_histogram",
        "OTEL_PYTHON_EXPORTER_OTLP_HTTP_CREDENTIAL_PROVIDER": CANARY,
        "HTTP_PROXY": other.url,
        "http_proxy": other.url,
        "ALL_PROXY": other.url,
        "REQUESTS_CA_BUNDLE": str(tmp_path / "none.pem"),
    }.items():
        monkeypatch.setenv(name, value)
    for name in ("NO_PROXY", "no_proxy"):
        monkeypatch.delenv(name, raising=False)
    before = dict(os.environ)
    a_run(Story(observer(collector.url))).close()
    assert dict(os.environ) == before
    assert other.requests == []
    assert {path for path, _, _ in collector.requests} == {"/v1/traces", "/v1/metrics"}
    for _, given, body in collector.requests:
        assert {key.lower() for key in given} == {
            "host", "accept-encoding", "content-type", "content-length", "user-agent",
        }  # fmt: skip
        assert given["Content-Type"] == "application/x-protobuf"
        assert CANARY not in json.dumps(given)
        assert CANARY.encode() not in body
    assert len(collector.spans()) == 5
    assert set(collector.metrics()) == {
        "tandem.runs", "tandem.checks", "gen_ai.client.token.usage", "gen_ai.client.operation.duration",
    }  # fmt: skip
    assert collector.metrics()["tandem.runs"].sum.aggregation_temporality == 2  # cumulative


def test_the_resource_is_the_service_and_its_version_alone(collector: Collector) -> None:
    a_run(Story(observer(collector.url, service="mine"))).close()
    for path, _, body in collector.requests:
        if path == "/v1/traces":
            (resource,) = [r.resource for r in ExportTraceServiceRequest.FromString(body).resource_spans]
        else:
            (resource,) = [r.resource for r in ExportMetricsServiceRequest.FromString(body).resource_metrics]
        assert set(plain(resource.attributes)) == {"service.name", "service.version"}
        assert plain(resource.attributes)["service.name"] == "mine"


def test_the_global_providers_are_left_alone(collector: Collector) -> None:
    before = otel_trace.get_tracer_provider(), otel_metrics.get_meter_provider()
    a_run(Story(observer(collector.url))).close()
    assert (otel_trace.get_tracer_provider(), otel_metrics.get_meter_provider()) == before


def test_a_path_before_the_usual_ones_is_kept(collector: Collector) -> None:
    a_run(Story(observer(f"{collector.url}/tenant/"))).close()
    assert {path for path, _, _ in collector.requests} == {"/tenant/v1/traces", "/tenant/v1/metrics"}
