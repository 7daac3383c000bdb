/**
 * Estimates the server's clock from `Date` headers, which count whole seconds.
 *
 * Each answer bounds the offset (server minus viewer): it was written after the request left and before it
 * arrived, and its second had begun but not ended. Many answers make the bounds narrow. Where the bounds allow
 * it the clocks are taken to agree, as they do on most machines. Pure: all times in milliseconds come from outside.
 */
export class ServerClock {
  private low = -Infinity;
  private high = Infinity;

  /**
   * @param date value of the `Date` header
   * @param age value of the `Age` header: seconds in caches, 0 if there is none
   * @param sent and `received`: the viewer's clock when the request left and when its answer came
   */
  observe(date: number, age: number, sent: number, received: number): void {
    if (!Number.isFinite(date)) return;
    const earliest = date + age * 1000;
    const latest = earliest + (age > 0 ? 2000 : 1000);
    this.low = Math.max(this.low, earliest - received);
    this.high = Math.min(this.high, latest - sent);
    if (this.low > this.high) {
      // One of the clocks was set: begin again from this answer.
      this.low = earliest - received;
      this.high = latest - sent;
    }
  }

  /** Server minus viewer, milliseconds. */
  get offset(): number {
    if (this.low === -Infinity || (this.low <= 0 && this.high >= 0)) return 0;
    return (this.low + this.high) / 2;
  }
}
