/** Alerts: what is wrong now, what was, and the rules that say so. */
import { percent, plain, seconds, span } from './format';
import { Empty, Tag, Timeline, When } from './parts';
import { streamHref } from './route';
import * as store from './store';
import type { Alert, Rule } from './types';

export function AlertsPage() {
  const alerts = store.alerts.value;
  return (
    <>
      <h1 tabIndex={-1}>Alerts</h1>
      {alerts === null ? (
        <p class="quiet" role="status">Asking for the alerts…</p>
      ) : (
        <>
          {alerts.active.length === 0 ? (
            <Empty title="No alert is active"><p>An alert begins when its limit is passed for long enough, and ends when the figure has been well below it for longer.</p></Empty>
          ) : (
            <section class="card pad" aria-labelledby="h-active">
              <h2 id="h-active">Active</h2>
              <ul class="alerts">{alerts.active.map((alert) => <Item key={alert.id} alert={alert} />)}</ul>
            </section>
          )}
          {alerts.recent.length > 0 && (
            <section class="card pad" aria-labelledby="h-recent">
              <h2 id="h-recent">Over</h2>
              <ul class="alerts">{alerts.recent.slice(0, 50).map((alert) => <Item key={`${alert.id} ${alert.since}`} alert={alert} />)}</ul>
            </section>
          )}
          <section class="card pad" aria-labelledby="h-all">
            <h2 id="h-all">What happened, over all streams</h2>
            <Timeline events={store.happenings.value} named />
          </section>
          {alerts.rules.length > 0 && <Rules rules={alerts.rules} />}
        </>
      )}
    </>
  );
}

function Item({ alert }: { alert: Alert }) {
  const name = alert.scope.kind === 'stream' ? <a data-in href={streamHref(alert.scope.name)}>{alert.scope.name}</a> : <b>{alert.scope.name || 'everywhere'}</b>;
  return (
    <li class={alert.suppressed_by ? 'gone' : ''}>
      <Tag severity={alert.severity} />
      <span class="what">
        {name} <span class="quiet">{alert.rule}</span>
        <br />
        {alert.text}
        {alert.suppressed_by && <small> Explained by {alert.suppressed_by}; no notice was sent.</small>}
      </span>
      <span class="when">
        <When at={alert.since} />
        {alert.until !== null && <small>lasted {span((alert.until - alert.since) / 1000)}</small>}
      </span>
    </li>
  );
}

function figure(value: number, unit: string): string {
  if (unit === 'count') return `${Math.ceil(value)}`;
  return unit === 'ratio' ? percent(value) : unit === 'seconds' ? seconds(value) : `${plain(value, value % 1 ? 1 : 0)}${unit ? ` ${unit}` : ''}`;
}

function Rules({ rules }: { rules: Rule[] }) {
  return (
    <details class="card pad">
      <summary>The rules</summary>
      <div class="scroll" tabIndex={0} role="region" aria-label="Rules">
        <table class="plain">
          <thead><tr>{['Rule', 'Severity', 'For each', 'Begins at', 'for', 'Ends at', 'for', 'Needs'].map((head, i) => <th scope="col" key={i}>{head}</th>)}</tr></thead>
          <tbody>
            {rules.map((rule) => (
              <tr key={`${rule.rule} ${rule.severity}`}>
                <th scope="row">{rule.rule}</th>
                <td>{rule.severity}</td>
                <td>{rule.scope}</td>
                <td>{figure(rule.enter, rule.unit)}</td>
                <td>{span(rule.enter_for)}</td>
                <td>{figure(rule.exit, rule.unit)}</td>
                <td>{span(rule.exit_for)}</td>
                <td>{rule.least ?? ''}</td>
              </tr>
            ))}
          </tbody>
        </table>
      </div>
    </details>
  );
}
