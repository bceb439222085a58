#!/usr/bin/env python3
"""What metrics.sh asks a Prometheus server.

    scrape.py URL up                         it has scraped its only target
    scrape.py URL metrics DOCUMENT VIEWERS   every metric of the document is there with a sane value, after a run of
                                             starling-bench with so many viewers
"""

import json
import re
import sys
import time
import urllib.parse
import urllib.request


class Prometheus:
    def __init__(self, url):
        self.url = url

    def get(self, path, **arguments):
        query = urllib.parse.urlencode(arguments, doseq=True)
        with urllib.request.urlopen(f"{self.url}/api/v1/{path}?{query}", timeout=10) as answer:
            return json.load(answer)["data"]

    def values(self, query):
        """The values of an expression, of each of its series."""
        return [float(one["value"][1]) for one in self.get("query", query=query)["result"]]

    def value(self, query):
        values = self.values(query)
        if len(values) != 1:
            raise SystemExit(f"{query} has {len(values)} values")
        return values[0]


def documented(path):
    """(name, type, labels) of each row of the tables."""
    rows = []
    with open(path, encoding="utf-8") as document:
        for line in document:
            if line == "## What to alert on\n":
                break
            if line.startswith("| `"):
                name, kind, labels = [cell.strip() for cell in line.strip().strip("|").split("|")][:3]
                rows.append((name.strip("`"), kind, {label.strip("`") for label in labels.split(", ") if label}))
    return rows


def metrics(prometheus, document, viewers):
    rows = documented(document)
    if len(rows) < 30:
        raise SystemExit(f"{document} has {len(rows)} metrics")
    problems = []
    for name, kind, labels in rows:
        for series in ([f"{name}_bucket", f"{name}_sum", f"{name}_count"] if kind == "histogram" else [name]):
            found = prometheus.get("series", **{"match[]": series})
            if not found:
                problems.append(f"{series} is not there")
            others = {"__name__", "instance", "job"} | ({"le"} if series.endswith("_bucket") else set())
            for one in found:
                if set(one) - others != labels:
                    problems.append(f"{series} has the labels {sorted(set(one) - others)}, not {sorted(labels)}")
                    break
        if kind in ("counter", "histogram"):
            series = f"{name}_count" if kind == "histogram" else name
            if sum(prometheus.values(f"resets({series}[10m])")):
                problems.append(f"{series} went down")
    if problems:
        raise SystemExit("\n".join(problems))
    print(f"all {len(rows)} metrics of the document are there, with the labels that it names, and no counter went down")

    known = {name for name, _, _ in rows}
    ours = {re.sub("_(bucket|sum|count)$", "", name) for name in prometheus.get("label/__name__/values")}
    if strange := {name for name in ours - known if not re.match("up$|scrape_", name)}:
        raise SystemExit(f"not in the document: {sorted(strange)}")
    series = len(prometheus.get("series", **{"match[]": '{job="starling"}'}))
    if series > 1_500:
        raise SystemExit(f"{series} series: a label grows")
    print(f"nothing else is there: {series} series")

    now, most = time.time(), float("inf")
    highest = lambda name: f"max(max_over_time({name}[10m]))"
    sane = [
        ("min(min_over_time(up[1m]))", 1, 1),
        ("starling_ready", 1, 1),
        (highest("starling_members"), viewers, viewers + 10),
        (highest('starling_streams{type="subscribe"}'), viewers, viewers),
        (highest('starling_swarms{kind="livestream",state="active"}'), 1, 2),
        (highest('starling_connections{listener="grpc"}'), 1, viewers + 10),
        ('starling_connections{listener="admin"}', 1, 3),
        # 30 a second for 8 seconds, with what a run sends before and after.
        ("starling_updates_published_total", 200, 1_000),
        ("starling_deliveries_total / starling_updates_published_total", viewers * 0.9, viewers * 1.01),
        ("starling_published_bytes_total / starling_updates_published_total", 1_000, 1_300),
        ("starling_delivered_bytes_total / starling_deliveries_total", 1_000, 1_500),
        ("starling_delivery_latency_seconds_count / starling_deliveries_total", 0.5, 1),
        ("histogram_quantile(0.5, starling_delivery_latency_seconds_bucket)", 0, 1),
        ("starling_delivery_latency_seconds_sum / starling_delivery_latency_seconds_count", 1e-6, 1),
        ('sum(grpc_server_handled_total{grpc_method="JoinLivestream",grpc_code="OK"})', viewers, viewers + 10),
        ('sum(grpc_server_handled_total{grpc_method="GetLivestream",grpc_code="NotFound"})', 1, 1),
        ('starling_errors_total{reason="LIVESTREAM_NOT_FOUND"}', 1, 1),
        ("sum(grpc_server_started_total) - sum(grpc_server_handled_total)", 0, 2),
        ('histogram_quantile(0.5, sum by (le) (grpc_server_handling_seconds_bucket{grpc_method="JoinLivestream"}))', 0, 1),
        ("sum(starling_limit_hits_total)", 0, 0),
        ("max(starling_budget_bytes / on(budget) starling_budget_limit_bytes)", 0, 0.5),
        (highest('starling_budget_bytes{budget="feed.memory_bytes"}'), 10_000, 1 << 28),
        ("sum(starling_budget_cut_total)", 0, 0),
        ("process_resident_memory_bytes", 5 << 20, 2 << 30),
        ("process_cpu_seconds_total", 0.01, 1_000),
        ("process_start_time_seconds", now - 3_600, now + 1),
        ("process_open_fds", 5, 1_000),
        ("process_max_fds", 256, most),
        ("starling_runtime_workers", 1, 4_096),
        ("starling_runtime_busy_seconds_total", 0.01, 10_000),
        ("count(starling_build_info)", 1, 1),
        ("scrape_duration_seconds", 0, 0.5),
    ]
    wrong = []
    for query, least, greatest in sane:
        value = prometheus.value(query)
        if not least <= value <= greatest:
            wrong.append(f"{query} is {value}, not {least} to {greatest}")
    if wrong:
        raise SystemExit("\n".join(wrong))
    print(f"{len(sane)} expressions have sane values")


def main():
    url, what, *rest = sys.argv[1:]
    prometheus = Prometheus(url)
    if what == "up":
        raise SystemExit(0 if prometheus.values("up") == [1.0] else 1)
    metrics(prometheus, rest[0], int(rest[1]))


main()
