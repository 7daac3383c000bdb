/** The page at `/`: takes the name of a stream and goes to its player. */
import './style.css';
import { fromText, watchPath } from './stream';

const form = document.querySelector<HTMLFormElement>('#form')!;
const field = document.querySelector<HTMLInputElement>('#stream')!;
const wrong = document.querySelector<HTMLElement>('#wrong')!;

field.focus();
field.addEventListener('input', () => (wrong.textContent = ''));
form.addEventListener('submit', (event) => {
  event.preventDefault();
  const name = fromText(field.value);
  if (name) location.assign(watchPath(name));
  else wrong.textContent = 'A name has letters, digits, "-", "_" and ".", for example show or live/show.';
});
