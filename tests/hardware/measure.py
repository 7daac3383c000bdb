"""Streams through the server with a backend and with software: what the workers cost, what the GPU did, what came out.

Called by run.sh. Checks, by the machine's own counters, that the backend was used and not quietly replaced."""

import argparse
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
import urllib.request

TICKS = os.sysconf("SC_CLK_TCK")
RTMP, HTTP, ADMIN = 41935, 48080, 48081


def get(port, path):
    with urllib.request.urlopen(f"http://127.0.0.1:{port}{path}", timeout=10) as answer:
        return answer.read().decode()


def metric(text, name):
    """The sum over all labels."""
    lines = re.findall(rf"^{name}(?:\{{[^}}]*\}})? ([0-9.eE+-]+)$", text, re.M)
    return sum(map(float, lines))


def workers(server):
    """Process ids of the server's children that run a worker."""
    found = []
    for pid in filter(str.isdigit, os.listdir("/proc")):
        try:
            stat = open(f"/proc/{pid}/stat").read().rsplit(")", 1)[1].split()
            line = open(f"/proc/{pid}/cmdline").read().split("\0")
        except OSError:
            continue
        if int(stat[1]) == server and "worker" in line:
            found.append(int(pid))
    return found


def cpu(pid):
    fields = open(f"/proc/{pid}/stat").read().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / TICKS


def resident(pid):
    return int(re.search(r"VmRSS:\s+(\d+)", open(f"/proc/{pid}/status").read())[1]) / 1024


class Card:
    """What nvidia-smi counts while it runs."""

    def __init__(self, out):
        self.log = os.path.join(out, "dmon.txt")
        self.process = None
        if shutil.which("nvidia-smi"):
            self.process = subprocess.Popen(["nvidia-smi", "dmon", "-s", "um"], stdout=open(self.log, "w"))

    def stop(self):
        """Mean use of its multiprocessors, encoder and decoder, in percent, and the most memory in MiB."""
        if self.process is None:
            return {}
        self.process.terminate()
        self.process.wait()
        lines = open(self.log).read().splitlines()
        head = next((line.lstrip("# ").split() for line in lines if line.startswith("# gpu")), [])
        rows = [line.split() for line in lines if not line.startswith("#")]
        figure = lambda name: [float(row[head.index(name)]) for row in rows if row[head.index(name)] != "-"] if name in head else []
        mean = lambda values: round(sum(values) / len(values), 1) if values else None
        return {name: mean(figure(name)) for name in ("sm", "enc", "dec")} | {"fb_mib": max(figure("fb"), default=None)}


class Server:
    def __init__(self, options, decode, encode, out):
        self.home = tempfile.mkdtemp()
        settings = {
            "ingest.rtmp.listen": f"127.0.0.1:{RTMP}",
            "edge.http.listen": f"127.0.0.1:{HTTP}",
            "edge.https.listen": "off",
            "admin.listen": f"127.0.0.1:{ADMIN}",
            "data_dir": self.home,
            "transcode.hardware.decode": decode,
            "transcode.hardware.encode": encode,
            "transcode.preset": "veryfast",
            "transcode.cpu_percent": "100",
        }
        flags = [part for key, value in settings.items() for part in ("--set", f"{key}={value}")]
        self.log = open(os.path.join(out, f"server-{decode}-{encode}.log"), "w")
        self.env = os.environ | {"LD_LIBRARY_PATH": options.libraries}
        command = [options.aqueduct, "serve", *flags]
        self.process = subprocess.Popen(command, stdout=self.log, stderr=self.log, env=self.env)
        self.pushes = []

    def push(self, options, name):
        command = [options.ffmpeg, "-v", "error", "-re", "-stream_loop", "-1", "-f", "flv", "-i", options.clip, "-c", "copy", "-f", "flv"]
        command.append(f"rtmp://127.0.0.1:{RTMP}/live/{name}")
        self.pushes.append(subprocess.Popen(command, stderr=self.log, env=self.env))

    def stop(self):
        for process in self.pushes + [self.process]:
            process.terminate()
        for process in self.pushes + [self.process]:
            try:
                process.wait(20)
            except subprocess.TimeoutExpired:
                process.kill()
        shutil.rmtree(self.home, ignore_errors=True)


def wait_for(what, limit, check):
    end = time.monotonic() + limit
    while time.monotonic() < end:
        try:
            if answer := check():
                return answer
        except OSError:
            pass
        time.sleep(0.25)
    raise SystemExit(f"gave up waiting for {what}")


def rungs(name):
    return get(HTTP, f"/live/{name}/index.m3u8").count("#EXT-X-STREAM-INF")


def newest(name):
    """Media sequence number and parts of each rendition: that all of them go on."""
    base = f"/live/{name}/"
    lists = [line for line in get(HTTP, base + "index.m3u8").splitlines() if line and not line.startswith("#")]
    return {path: len(re.findall("#EXTINF|#EXT-X-PART:", get(HTTP, base + path))) for path in lists}


def run(options, decode, encode):
    server = Server(options, decode, encode, options.out)
    try:
        wait_for("the server", 20, lambda: get(ADMIN, "/readyz"))
        # The probe of the hardware runs beside the start; a stream that came before it would be encoded in software.
        time.sleep(8 if (decode, encode) != ("software", "software") else 1)
        names = [f"s{number}" for number in range(options.streams)]
        for name in names:
            server.push(options, name)
        for name in names:
            wait_for(f"the rungs of {name}", 40, lambda: rungs(name) >= 4)
        time.sleep(3)
        card = Card(options.out)
        before, start = get(ADMIN, "/metrics"), time.monotonic()
        pids = workers(server.process.pid)
        spent = {pid: cpu(pid) for pid in pids}
        time.sleep(options.seconds)
        after, wall = get(ADMIN, "/metrics"), time.monotonic() - start
        used = sum(cpu(pid) - spent[pid] for pid in pids)
        grown = lambda name: metric(after, name) - metric(before, name)
        streams = get(ADMIN, "/api/v1/streams")
        open(os.path.join(options.out, f"streams-{decode}-{encode}.json"), "w").write(streams)
        frames = grown("aqueduct_transcode_frames_total")
        return {
            "decode": decode,
            "encode": encode,
            "streams": options.streams,
            "workers": len(pids),
            "worker_cpus": round(used / wall, 3),
            "rss_mib": round(sum(map(resident, pids))),
            "frames_in_and_out_a_second": round(frames / wall, 1),
            "fallbacks": metric(after, "aqueduct_transcode_fallbacks_total"),
            "losses": metric(after, "aqueduct_transcode_worker_losses_total"),
            "steps": metric(after, "aqueduct_transcode_governor_steps_total"),
            "renditions": newest(names[0]),
        } | card.stop()
    finally:
        server.stop()


def main():
    parser = argparse.ArgumentParser()
    for name in ("aqueduct", "ffmpeg", "libraries", "clip", "backend", "out"):
        parser.add_argument(f"--{name}", default="")
    parser.add_argument("--streams", type=int, default=1)
    parser.add_argument("--seconds", type=int, default=30)
    options = parser.parse_args()
    if not options.clip:
        raise SystemExit("give a bundle of pack.sh: it holds the clip")
    found = json.load(open(os.path.join(options.out, "hardware.json")))
    backend = next(one for one in found["backends"] if one["backend"] == options.backend)
    works = [json.dumps(one["ability"]) for one in backend["findings"] if one["outcome"] == "works"]
    can = lambda ability: json.dumps(ability) in works
    checks = {"decodes H.264": can({"decode": "h264"}), "scales on the device": can("scale")}
    rows = [run(options, "software", "software")]
    if can({"decode": "h264"}):
        rows.append(run(options, options.backend, "software"))
    if can({"encode": "h264"}):
        rows.append(run(options, options.backend, options.backend))
    for row in rows:
        print(json.dumps(row))
        on_card = row["decode"] != "software"
        label = f"decode {row['decode']}, encode {row['encode']}: "
        checks[label + "nothing fell back or was lost"] = not row["fallbacks"] and not row["losses"]
        checks[label + "every rendition has media"] = all(row["renditions"].values())
        if on_card and options.backend == "nvidia":
            checks[label + "the card's decoder worked"] = bool(row.get("dec"))
            checks[label + "the card's multiprocessors scaled"] = bool(row.get("sm"))
        if on_card:
            checks[label + "fewer CPUs than software"] = row["worker_cpus"] < rows[0]["worker_cpus"]
    json.dump({"rows": rows, "checks": checks}, open(os.path.join(options.out, "result.json"), "w"), indent=1)
    for check, passed in checks.items():
        print("ok  " if passed else "FAIL", check)
    sys.exit(0 if all(checks.values()) else 1)


if __name__ == "__main__":
    main()
