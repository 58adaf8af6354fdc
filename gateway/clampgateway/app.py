"""The composition root: builds the gateway from its configuration, runs it, and stops it in order.

Owns who gets what, the order of start and stop, signals, and what the service manager is told.
It is the only place that knows all parts; none of them knows it.
"""

from __future__ import annotations

import asyncio
import gc
import logging
import os
import signal
from collections.abc import Mapping
from typing import Any

from clampgateway import api, logs, parts
from clampgateway.clocksync import system_clocks
from clampgateway.committer import Committer, StoreThread
from clampgateway.config import Config, Part
from clampgateway.descriptions import Descriptions
from clampgateway.devices import Devices
from clampgateway.feed import BridgeContext, Feed
from clampgateway.health import Health, LoopErrors, LoopLag, Progress
from clampgateway.ledger import LedgerKeeper
from clampgateway.ledger.keeper import LedgerStore
from clampgateway.link import Links
from clampgateway.memory import Reserve
from clampgateway.model import GatewayError
from clampgateway.removals import Removals
from clampgateway.sdnotify import Notifier
from clampgateway.shutdown import Shutdown
from clampgateway.starting import make_folder, own_id, utc_clock
from clampgateway.store import Dating, Store
from clampgateway.supervisor import Supervisor
from clampwire.version import __version__

log = logging.getLogger(__name__)

STORE_FILE = "store.db"
RECENT_EVENTS = 50
TICK_S = 0.5
STATUS_S = 10.0


def main(config: Config, env: Mapping[str, str] = os.environ) -> int:
    """Runs the gateway until SIGTERM or SIGINT. Returns the exit code: 0 stopped, 1 failed."""
    repeats = logs.configure(config.gateway.log_level, env)
    os.umask(0o077)
    # What is loaded stays: to search it for cycles took all of the gateway 10 ms each time.
    gc.freeze()
    try:
        return asyncio.run(run(config, repeats, env))
    except (GatewayError, OSError) as error:
        log.critical("cannot start: %s", error)
        return 1


async def run(
    config: Config, repeats: logs.RepeatFilter, env: Mapping[str, str] = os.environ
) -> int:
    """Builds, runs and stops a gateway in the running loop. Raises GatewayError at the start."""
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    gateway = Gateway(config, repeats, env)
    try:
        return await gateway.run(stop)
    finally:
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.remove_signal_handler(number)


class Gateway:
    """All parts of one gateway. Raises GatewayError if one of them cannot be built."""

    def __init__(self, config: Config, repeats: logs.RepeatFilter, env: Mapping[str, str]) -> None:
        self._config = config
        self._repeats = repeats
        self._state_dir = make_folder(config.state_dir)
        self._id = config.gateway.id or own_id(self._state_dir)
        self._notifier = Notifier(env)
        mono_us = system_clocks().mono_us
        self._mono = lambda: mono_us() / 1e6
        self._started_s = self._mono()
        kept = config.store
        store = Store(
            self._state_dir / STORE_FILE,
            kept.quota_mb << 20 if kept.quota_mb is not None else None,
            kept.retention_h,
        )
        self._store = store
        self._utc = utc_clock(store, trusted=config.gateway.trust_clock)
        clocks = system_clocks()._replace(utc_ms=self._utc.utc_ms, era=lambda: self._utc.era)
        self._thread = StoreThread(store)
        self._devices = Devices()
        descriptions = Descriptions(store.descriptions())
        self._feed = Feed(
            self._devices,
            descriptions,
            self._thread.read_after,
            self._mono,
            store.cursors(),
            store.last_id(),
            store.recent_events(RECENT_EVENTS),
            store.parked(),
        )
        self._links = Links(
            self._devices, descriptions, store.highest_boots(), self._id, clocks, store.clocks()
        )
        self._reserve = Reserve(self._mono)
        self._loop_errors = LoopErrors(self._reserve.give)
        self._committer = Committer(
            self._thread,
            self._feed,
            config.store.commit_interval_s,
            reserve=self._reserve,
            clocks=self._links.clocks,
            eras=self._utc.news,
            dating=self._dating,
        )
        # Before anybody watches: what was removed before the start is not there.
        self._removals = Removals(
            store, self._thread, self._committer, self._devices, self._links.connected_at
        )
        self._supervisor = Supervisor(self._mono, on_memory=self._reserve.give)
        self._lag = LoopLag(TICK_S, self._mono)
        self._progress = Progress(self._mono)
        self._sources = {
            part.name: parts.source_class(part.section)(
                part.settings, self._links, self._committer, clocks
            )
            for part in config.sources
        }
        self._ledger = LedgerKeeper(
            self._feed,
            store.cursor("ledger"),
            LedgerStore(
                self._thread.read_ledger, self._thread.save_ledger, self._thread.read_range
            ),
            lambda: self._committer.redelivered_by,
            clocks.utc_ms,
            self._devices,
        )
        context = BridgeContext(
            site=config.gateway.site,
            gateway_id=self._id,
            devices=self._devices,
            feed=self._feed,
            assign=self._thread.assign,
            mono=self._mono,
            utc_ms=clocks.utc_ms,
            read_range=self._thread.read_range,
            read_ids=self._thread.read_ids,
            command=self._links.command,
            ledger=self._ledger,
            assigned=store.assigned,
            removals=self._removals,
        )
        self._bridges = {part.name: _bridge(part, context) for part in config.bridges}
        self._health = self._build_health()
        self._api = self._build_api()

    async def run(self, stop: asyncio.Event) -> int:
        """Serves until `stop` is set or a part that all need fails. Returns the exit code."""
        asyncio.get_running_loop().set_exception_handler(self._loop_errors)
        log.info(
            "gateway starts version=%s id=%s %s", __version__, self._id, self._config.summary()
        )
        if not self._sources:
            log.warning("no source is configured: nothing will be measured")
        core = {
            asyncio.create_task(self._committer.run(), name="committer"),
            asyncio.create_task(self._tick(), name="tick"),
        }
        stopped = asyncio.create_task(stop.wait(), name="stop signal")
        for name, bridge in self._bridges.items():
            self._supervisor.start(name, bridge.run)
        self._supervisor.start("ledger", self._ledger.run)
        self._supervisor.start("api", self._api.run)
        for name, source in self._sources.items():
            self._supervisor.start(name, source.run)
        self._notifier.send("READY=1", "STATUS=started")
        await asyncio.wait({stopped, *core}, return_when=asyncio.FIRST_COMPLETED)
        failed = [task for task in core if task.done()]
        for task in failed:
            log.critical("gateway ends, part=%s failed", task.get_name(), exc_info=_error(task))
        stopped.cancel()
        complete = await self._stop(core)
        return 0 if complete and not failed else 1

    async def _stop(self, core: set[asyncio.Task[None]]) -> bool:
        """Stops all parts; whether everything that had come was committed."""
        self._notifier.send("STOPPING=1")
        log.info("gateway stops")
        stop = Shutdown(self._committer, self._thread, self._feed, self._supervisor, self._mono)
        await stop.run(self._sources, ["api", *self._bridges, "ledger"], core, self._reachable)
        if stop.late:
            # What waits for these would never end; all that was acknowledged is committed.
            log.critical("gateway ends without parts=%s", ",".join(stop.late))
            logging.shutdown()
            os._exit(1)
        log.info("gateway stopped uptime_s=%.0f", self._mono() - self._started_s)
        return stop.complete

    def _reachable(self) -> list[str]:
        return [name for name, bridge in self._bridges.items() if not _outside(bridge.stats())]

    def _dating(self) -> Dating | None:
        """How items without a time are dated now."""
        utc_ms = self._utc.utc_ms()
        if not utc_ms:
            return None
        offset_ms = utc_ms - 1000 * self._mono()
        return Dating(self._utc.era, offset_ms, utc_ms, self._links.all_fits())

    # --- what others ask ------------------------------------------------------------------------

    def _build_api(self) -> api.ApiServer:
        settings = self._config.api
        refused = api.Refusals()
        context = api.ApiContext(
            devices=self._devices,
            health=self._health.report,
            stats=self.stats,
            release=self._release,
            command=self._links.command,
            remove=self._removals.remove,
            ledger=self._ledger.read,
            mono=self._mono,
            token=api.own_token(self._state_dir),
            hosts=frozenset(api.hosts_of(settings.bind, settings.hosts)),
            refused=refused,
        )
        return api.ApiServer(settings, api.create_app(context), self._state_dir, refused)

    def _build_health(self) -> Health:
        health = Health()
        health.watch("committer", lambda: self._committer.alarm, vital=True)
        health.watch("committer", self._progress.problem, vital=True)
        for name in (*self._sources, *self._bridges, "api"):
            health.watch(name, lambda name=name: self._supervisor.problem(name), vital=True)
        for name, part in (*self._sources.items(), *self._bridges.items()):
            health.watch(name, lambda part=part: _outside(part.stats()), vital=False)
        health.watch("ledger", lambda: self._supervisor.problem("ledger"), vital=True)
        health.watch("ledger", lambda: self._ledger.alarm, vital=False)
        health.watch("clock", self._utc.problem, vital=False)
        health.watch("store", lambda: self._store.alarm, vital=False)
        health.watch("loop", self._lag.problem, vital=False)
        health.watch("memory", self._reserve.problem, vital=True)
        return health

    async def _release(self, port: str, seconds: float) -> None:
        """Gives a port free. Raises PortNotFoundError if no source has it."""
        for source in self._sources.values():
            if hasattr(source, "release") and await source.release(seconds, port):
                return
        known = [
            path for source in self._sources.values() for path in source.stats().get("ports", ())
        ]
        raise api.PortNotFoundError(
            f"no source has the port {port}: there are {', '.join(known) or 'none'}"
        )

    def stats(self) -> dict[str, Any]:
        """All counters, by part."""
        return {
            "gateway": {
                "id": self._id,
                "site": self._config.gateway.site,
                "version": __version__,
                "uptime_s": round(self._mono() - self._started_s, 1),
                "loop_lag_max_s": round(self._lag.max_s, 3),
                "loop_late": self._lag.late,
                "loop_errors": self._loop_errors.count,
                "memory_errors": self._reserve.errors,
                "memory_short": self._reserve.used,
                "memory_reserve_bytes": self._reserve.held_bytes,
                "log_lines_held_back": self._repeats.held_back,
                "notify_failures": self._notifier.failures,
            },
            "clock": dict(self._utc.stats()),
            "sources": {name: source.stats() for name, source in self._sources.items()},
            "links": self._links.stats(),
            "removals": self._removals.stats(),
            "committer": self._committer.stats(),
            "store": self._store.stats(),
            "feed": self._feed.stats(),
            "bridges": {name: bridge.stats() for name, bridge in self._bridges.items()},
            "ledger": self._ledger.stats(),
            "api": self._api.stats(),
            "parts": self._supervisor.stats(),
        }

    # --- what is looked after -------------------------------------------------------------------

    async def _tick(self) -> None:
        """Measures the loop, and tells the service manager that work goes on."""
        watchdog_s = self._notifier.watchdog_s / 2
        watchdog_due = status_due = self._mono()
        while True:
            await asyncio.sleep(TICK_S)
            try:
                self._look_after()
                now = self._mono()
                stuck = self._progress.problem() or self._reserve.hopeless
                if watchdog_s and now >= watchdog_due and not stuck:
                    watchdog_due = now + watchdog_s
                    self._notifier.send("WATCHDOG=1")
                if now >= status_due:
                    status_due = now + STATUS_S
                    self._notifier.send(f"STATUS={self._status()}")
            except MemoryError:
                self._reserve.give()

    def _look_after(self) -> None:
        self._lag.tick()
        self._utc.utc_ms()  # so that a step is seen where nothing comes
        self._reserve.tick()
        counts = self._committer
        self._progress.saw(counts.commits + counts.failures, counts.pending)

    def _status(self) -> str:
        online = sum(device.online for device in self._devices)
        report = self._health.report()
        reasons = "; ".join(f"{reason.part}: {reason.text}" for reason in report.reasons)
        text = f"{online} of {len(self._devices)} devices online, {report.status}"
        return (f"{text}: {reasons}" if reasons else text).replace("\n", " ")


def _bridge(part: Part, context: BridgeContext) -> Any:  # noqa: ANN401 - each has its own type
    return parts.bridge_class(part.section)(part.settings, context)


def _outside(stats: Mapping[str, Any]) -> str:
    """What a part waits for that is outside of the gateway, from its counters."""
    if not stats.get("connected", True):
        return f"not connected: {stats.get('error') or 'trying'}"
    if stats.get("alarm"):
        return stats["alarm"]
    ports = stats.get("ports", {})
    waiting = [f"{path} {port['error']}" for path, port in ports.items() if port["error"]]
    return ", ".join(waiting)


def _error(task: asyncio.Task[None]) -> BaseException | None:
    return None if task.cancelled() else task.exception()
