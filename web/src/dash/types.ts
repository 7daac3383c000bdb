/** The API's answers, as docs/api.md has them. `null` is "not known", never zero. */

export type HealthState = 'offline' | 'starting' | 'live' | 'degraded' | 'stalled' | 'reconnecting' | 'ended';
export type Severity = 'info' | 'warning' | 'critical';

export interface Reason {
  reason: string;
  severity: Severity;
  text: string;
  since: number;
}
export interface Health {
  state: HealthState;
  since: number | null;
  reasons: Reason[];
}
export interface Advice {
  advice: string;
  text: string;
  since?: number;
}
export interface ScorePart {
  part: string;
  most: number;
  input: number | null;
  unit: string;
  cost: number;
  text: string;
}
export interface Score {
  value: number;
  formula: string;
  parts: ScorePart[];
}
export interface Qoe {
  window: number;
  sessions: number;
  started: number;
  failed: number;
  left_before_start: number;
  startup: { p50: number | null; p90: number | null; p95: number | null };
  rebuffer_ratio: number | null;
  stalls: number;
  stalled_sessions: number;
  stalls_per_hour: number | null;
  switches_per_minute: number | null;
  oscillating: number;
  bitrate: number | null;
  latency: { p50: number | null; p95: number | null };
  latency_by: string | null;
  play_seconds: number;
  stall_seconds: number;
  dropped_frames_ratio: number | null;
}
export interface LatencyStage {
  stage: string;
  seconds: number | null;
  how: string;
}
export interface Share {
  name: string;
  viewers: number;
}
export interface Rendition {
  track: number;
  name: string;
  size?: [number, number] | null;
  bitrate: number;
  state: string;
  reason: string;
}
export interface RungTick {
  track: number;
  frames: number;
  bits: number;
  speed: number | null;
  encode_p95_micros?: number | null;
}
export interface Transcode {
  alignment?: string | null;
  passthrough: boolean;
  renditions: Rendition[];
  reasons: string[];
  last_loss: unknown;
  tick: { cpu_share?: number | null; preset?: string; decoder?: string; encoders?: string[]; rungs: RungTick[] } | null;
}
export interface Source {
  name: string;
  state: 'absent' | 'standby' | 'on-air';
  protocol: string | null;
  encoder: string;
  problem: string | null;
}
export interface Target {
  target: string;
  state: 'connecting' | 'live' | 'failed' | 'ended';
  reason?: string;
  again_millis?: number;
  bitrate: number;
}
export interface Stream {
  name: string;
  state: 'starting' | 'live' | 'reconnecting' | 'ended';
  protocol: string | null;
  encoder: string;
  epoch: string | null;
  target_duration: number | null;
  part_target: number | null;
  viewers: number;
  bitrate: number;
  reconnects: number;
  discontinuities: number;
  anomalies: Record<string, number>;
  ingest: {
    video_frames: number;
    grid_millifps: number | null;
    keyframe_interval_micros: number | null;
    skew_micros: number | null;
    scatter_micros: number | null;
    drift_ppm: number | null;
    rtt_micros: number | null;
    codecs: string[];
    dropped: number;
  };
  sources?: Source[];
  last_switch?: { from: string | null; to: string; text: string } | null;
  push?: Target[];
  transcode: Transcode | null;
  advice: Advice[];
  last_end: string | null;
  live_since?: number | null;
  health?: Health;
  score?: Score | null;
  qoe?: Qoe | null;
  latency?: { total: number | null; measured: boolean; stages: LatencyStage[] } | null;
  viewers_by?: { rendition: Share[]; edge: Share[]; player: Share[] };
}
export interface Series {
  start: number;
  step: number;
  count?: number;
  columns: Record<string, (number | null)[]>;
}
export interface Happening {
  at: number;
  stream: string | null;
  kind: string;
  severity: Severity;
  text: string;
}
export interface Session {
  session: string;
  player: string;
  edge: string | null;
  began: number;
  heard: number;
  state: string;
  startup: number | null;
  play?: number;
  stall?: number;
  rebuffer_ratio: number | null;
  stalls: number;
  bitrate: number | null;
  height: number | null;
  latency: number | null;
  outcome: string;
}
export interface Node {
  node: string;
  this: boolean;
  role: string;
  version: string;
  state: 'up' | 'draining' | 'gone';
  seen: number;
  viewers: number;
  connections: number;
  load: number | null;
  bitrate_out: number;
  requests: number;
  errors: number;
  blocked: number;
  answer_p95: number | null;
  shed: number;
  cache: { hits: number; misses: number; ratio: number | null } | null;
  relay: { edges: number | null; upstreams: number | null; lag_p50: number | null; lag_p95: number | null; lost: number } | null;
  drain: string | null;
}
export interface Alert {
  id: string;
  rule: string;
  severity: Severity;
  scope: { kind: string; name: string };
  since: number;
  until: number | null;
  value: number | null;
  text: string;
  suppressed_by: string | null;
}
export interface Rule {
  rule: string;
  severity: Severity;
  scope: string;
  unit: string;
  enter: number;
  exit: number;
  enter_for: number;
  exit_for: number;
  least: string | null;
  cooldown: number;
}
export interface Alerts {
  active: Alert[];
  recent: Alert[];
  rules: Rule[];
}
export interface Overview {
  node: string;
  role: string;
  version: string;
  at: number;
  uptime: number;
  streams: Record<string, number>;
  viewers: number;
  bitrate_in: number;
  bitrate_out: number;
  alerts: { warning: number; critical: number };
  nodes: { up: number; draining: number; gone: number };
  lost: Record<string, number>;
  cluster: boolean;
}

/** Where the node listens, by scheme. */
export type Ports = Partial<Record<'rtmp' | 'rtmps' | 'http' | 'https', number>>;
export interface Access {
  role: 'viewer' | 'admin';
  login: boolean;
}

/** One line of the list of streams. */
export interface Row {
  name: string;
  health: HealthState;
  score: number | null;
  viewers: number;
  bitrate: number;
  fps: number | null;
  latency: number | null;
  rebuffer: number | null;
  advice: number;
  alerts: number;
  since: number | null;
  reason: string;
}
