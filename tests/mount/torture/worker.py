"""One worker process: some players in threads of their own, and one on the shared
files. Tells broken promises on stdout, one JSON line each."""
import json
import pathlib
import resource
import sys
import threading
import time
import traceback

from .judge import BrokenPromise, Judge
from .player import Player
from .s3_view import S3View
from .shared_player import SharedPlayer
from .weather import WeatherGlass

TRACE_LENGTH = 60


class Worker:
    def __init__(self, plan):
        self.plan = plan
        self.glass = WeatherGlass(plan["weather"])
        self.view = S3View(plan["endpoint"], plan["bucket"], plan["prefix"])
        self.log = pathlib.Path(plan["log"])
        self.until = time.monotonic() + plan["seconds"]
        self.stop = threading.Event()
        self._lock = threading.Lock()
        self.totals = {"operations": 0, "checks": 0}

    def _tell(self, **what):
        with self._lock:
            print(json.dumps(what), flush=True)

    def _broken(self, error, trace, player):
        self._tell(kind=error.kind, name=error.name, message=str(error),
                   at=time.time(), player=player,
                   trace=trace[-TRACE_LENGTH:])
        if not self.plan["keep_going"]:
            self.stop.set()

    def _play(self, number):
        judge = Judge(self.view.read, self.glass,
                      lambda: self.log.read_text(errors="replace"))
        player = Player(number, self.plan["seed"], self.plan["mount"],
                        f"w{number}", judge, self.glass)
        steps = 0
        while not self.stop.is_set() and time.monotonic() < self.until:
            try:
                player.step()
            except BrokenPromise as error:
                self._broken(error, player.story(error.name), number)
                if error.kind == "daemon died":
                    return
                player.abandon(error.name)
            steps += 1
        if not self.stop.is_set():
            try:
                player.finish()
            except BrokenPromise as error:
                self._broken(error, player.story(error.name), number)
        with self._lock:
            self.totals["operations"] += steps
            self.totals["checks"] += judge.checks

    def _share(self, number):
        player = SharedPlayer(number, self.plan["seed"], self.plan["mount"],
                              self.glass, self.plan["shared_log"])
        while not self.stop.is_set() and time.monotonic() < self.until:
            try:
                player.step()
            except BrokenPromise as error:
                self._broken(error, player.story(error.name), number)
                if error.kind == "daemon died":
                    break
        player.finish()

    def _guard(self, play, number):
        try:
            play(number)
        except BaseException:
            self._tell(kind="the test itself failed", name="", at=time.time(),
                       message=traceback.format_exc(), trace=[],
                       player=number)
            self.stop.set()

    def run(self):
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
        first = self.plan["first"]
        threads = [
            threading.Thread(target=self._guard, args=(self._play, first + i))
            for i in range(self.plan["players"])]
        threads.append(threading.Thread(
            target=self._guard, args=(self._share, first)))
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        self._tell(totals=self.totals)


if __name__ == "__main__":
    Worker(json.loads(sys.argv[1])).run()
