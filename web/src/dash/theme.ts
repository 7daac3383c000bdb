/** Light, dark, or as the system has it. */
import { signal } from '@preact/signals';

export type Theme = 'auto' | 'light' | 'dark';
const KEY = 'aqueduct-theme';
const dark = window.matchMedia('(prefers-color-scheme: dark)');

function kept(): Theme {
  try {
    const value = localStorage.getItem(KEY);
    return value === 'light' || value === 'dark' ? value : 'auto';
  } catch {
    return 'auto';
  }
}

export const theme = signal<Theme>(kept());
/** What is shown in the end; charts are drawn anew when it changes. */
export const shown = signal<'light' | 'dark'>('light');

function apply(): void {
  shown.value = theme.value === 'auto' ? (dark.matches ? 'dark' : 'light') : theme.value;
  document.documentElement.dataset.theme = shown.value;
}

export function choose(next: Theme): void {
  theme.value = next;
  try {
    if (next === 'auto') localStorage.removeItem(KEY);
    else localStorage.setItem(KEY, next);
  } catch {
    // A page that may keep nothing has its theme until it is closed.
  }
  apply();
}

dark.addEventListener('change', apply);
apply();

/** A colour of the page's style, for canvases. */
export function colour(name: string): string {
  return getComputedStyle(document.documentElement).getPropertyValue(`--${name}`).trim() || '#888';
}
