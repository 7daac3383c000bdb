/** Time charts by uPlot: one chart for a question, all of them with the same cursor. */
import { useEffect, useRef } from 'preact/hooks';
import uPlot from 'uplot';
import 'uplot/dist/uPlot.min.css';
import { UNKNOWN, clock } from './format';
import * as store from './store';
import { colour, shown } from './theme';

export interface Line {
  column: string;
  label: string;
  colour: string;
  /** Filled down to zero, or to the line before it where lines are stacked. */
  fill?: boolean;
}
interface Props {
  title: string;
  lines: Line[];
  format: (value: number | null) => string;
  /** Shorter, for the axis. */
  ticks?: (value: number | null) => string;
  /** Seconds to the left. */
  span: number;
  /** What the axis spans at least. */
  least?: [number, number];
  stacked?: boolean;
  /** Explains the figure in one sentence. */
  hint?: string;
}

const HEIGHT = 128;
const sync = uPlot.sync('stream');

/** Seconds that were not well, behind the lines. */
function shade(plot: uPlot): void {
  const { ctx } = plot;
  const times = plot.data[0];
  const health = store.seconds.value.of('health');
  const offset = store.seconds.value.times.length - times.length;
  const { left, top, width, height } = plot.bbox;
  ctx.save();
  ctx.beginPath();
  ctx.rect(left, top, width, height);
  ctx.clip();
  for (let i = 0; i < times.length; ) {
    const state = health[i + offset] ?? null;
    let end = i + 1;
    while (end < times.length && (health[end + offset] ?? null) === state) end += 1;
    if (state !== null && state > 0) {
      const from = plot.valToPos(times[i]!, 'x', true);
      ctx.fillStyle = colour(state === 1 ? 'shade-warn' : 'shade-bad');
      ctx.fillRect(from, top, plot.valToPos(times[end - 1]! + 1, 'x', true) - from, height);
    }
    i = end;
  }
  ctx.restore();
}

function data(lines: Line[], span: number, stacked: boolean): uPlot.AlignedData {
  const all = store.seconds.value;
  const from = Math.max(0, all.times.length - span);
  const columns = lines.map(({ column }) => all.of(column).slice(from));
  if (stacked) {
    for (let i = 0; i < (columns[0]?.length ?? 0); i += 1) {
      let sum = 0;
      const any = columns.some((column) => column[i] !== null);
      for (const column of columns) {
        sum += column[i] ?? 0;
        column[i] = any ? sum : null;
      }
    }
  }
  return [all.times.slice(from), ...columns] as uPlot.AlignedData;
}

function options(props: Props, width: number): uPlot.Options {
  const axis = { stroke: colour('quiet'), grid: { stroke: colour('grid'), width: 1 }, ticks: { show: false }, font: '11px system-ui, sans-serif' };
  const [least, most] = props.least ?? [0, 0];
  return {
    width,
    height: HEIGHT,
    padding: [6, 6, 0, 0],
    legend: { show: false },
    cursor: { sync: { key: sync.key }, y: false, points: { size: 6 }, drag: { x: false, y: false } },
    scales: {
      x: { time: true },
      y: { range: (_plot, min, max) => [Math.min(least, min ?? least), Math.max(most, (max ?? most) * 1.08) || 1] },
    },
    axes: [
      { ...axis, size: 22, space: 70, values: (_plot, ticks) => ticks.map((tick) => clock(tick * 1000)) },
      { ...axis, size: 52, space: 34, values: (_plot, ticks) => ticks.map((tick) => (props.ticks ?? props.format)(tick)) },
    ],
    series: [
      {},
      ...props.lines.map(
        (line): uPlot.Series => ({
          label: line.label,
          // A stage that is not known has no line of its own on top of the others.
          stroke: () => (store.seconds.value.of(line.column).every((value) => value === null) ? 'transparent' : colour(line.colour)),
          width: 1.5,
          ...(line.fill && (!props.stacked || line === props.lines[0]) ? { fill: `${colour(line.colour)}22` } : {}),
          points: { show: false },
        }),
      ),
    ],
    ...(props.stacked
      ? {
          bands: props.lines.slice(1).map((line, i) => ({ series: [i + 2, i + 1] as [number, number], fill: `${colour(line.colour)}55` })),
        }
      : {}),
    hooks: { drawClear: [shade], setCursor: [(plot) => legend(plot, props)] },
  };
}

/** The figures under the cursor, or the newest ones. */
function legend(plot: uPlot, props: Props): void {
  const card = plot.root.closest('.chart');
  if (!card) return;
  const under = plot.cursor.idx;
  const index = under ?? null;
  props.lines.forEach((line, i) => {
    const output = card.querySelectorAll('output')[i];
    if (!output) return;
    if (index === null) {
      output.textContent = props.format(store.seconds.value.latest(line.column));
      return;
    }
    const offset = store.seconds.value.times.length - plot.data[0].length;
    output.textContent = props.format(store.seconds.value.of(line.column)[index + offset] ?? null);
  });
}

export function Chart(props: Props) {
  const host = useRef<HTMLDivElement>(null);
  const plot = useRef<uPlot | null>(null);
  const read = () => data(props.lines, props.span, props.stacked ?? false);
  const theme = shown.value;
  useEffect(() => {
    const element = host.current;
    if (!element) return;
    const made = new uPlot(options(props, element.clientWidth || 300), read(), element);
    plot.current = made;
    legend(made, props);
    const watcher = new ResizeObserver(() => made.setSize({ width: element.clientWidth, height: HEIGHT }));
    watcher.observe(element);
    const dispose = store.secondsBeat.subscribe(() => {
      if (document.hidden) return;
      made.setData(read());
      legend(made, props);
    });
    return () => {
      dispose();
      watcher.disconnect();
      made.destroy();
      plot.current = null;
    };
  }, [theme, props.span, store.seconds.value]);
  const single = props.lines.length === 1;
  return (
    <figure class="chart card" role="group" aria-label={props.title}>
      <figcaption title={props.hint}>
        <span class="name">{props.title}</span>
        <span class="values">
          {props.lines.map((line) => (
            <span key={line.column}>
              {!single && <i style={{ background: `var(--${line.colour})` }} aria-hidden="true" />}
              {!single && <small>{line.label}</small>}
              <output>{UNKNOWN}</output>
            </span>
          ))}
        </span>
      </figcaption>
      <div ref={host} class="plot" aria-hidden="true" />
    </figure>
  );
}

/** A line without axes, for one row of a list. */
export function Spark({ values, bad, label }: { values: (number | null)[]; bad: boolean; label: string }) {
  const host = useRef<HTMLDivElement>(null);
  const plot = useRef<uPlot | null>(null);
  const theme = shown.value;
  useEffect(() => {
    const element = host.current;
    if (!element) return;
    const line = colour(bad ? 'warn' : 'accent');
    plot.current = new uPlot(
      {
        width: element.clientWidth || 120,
        height: element.clientHeight || 32,
        padding: [2, 0, 2, 0],
        legend: { show: false },
        cursor: { show: false },
        scales: { x: { time: false }, y: { range: (_plot, _min, max) => [0, (max || 1) * 1.1] } },
        axes: [{ show: false }, { show: false }],
        series: [{}, { stroke: line, width: 1.5, fill: `${line}22`, points: { show: false } }],
      },
      [[], []],
      element,
    );
    return () => {
      plot.current?.destroy();
      plot.current = null;
    };
  }, [theme, bad]);
  useEffect(() => {
    // Two at least, else there is no line to draw.
    if (values.length > 1) plot.current?.setData([values.map((_, i) => i), values]);
  }, [values, values.length, store.beat.value, theme, bad]);
  return <div ref={host} class="spark" role="img" aria-label={label} />;
}
