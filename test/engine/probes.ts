// A kubelet's probes of a health endpoint.
import http from 'node:http';
import { setTimeout as pause } from 'node:timers/promises';
import { onTestFinished } from 'vitest';
import { LOCALHOST } from './engine.js';

export interface Answer {
  readonly status: number | undefined;
  readonly connection: string | undefined;
  readonly body: Record<string, unknown>;
}

export function probe(port: number, path = '/readyz', method = 'GET'): Promise<Answer> {
  return new Promise((resolve, reject) => {
    const request = http.request({ host: LOCALHOST, port, path, method, agent: false, timeout: 5_000 }, (response) => {
      let text = '';
      response.setEncoding('utf8').on('data', (chunk: string) => {
        text += chunk;
      });
      response.on('end', () => {
        const body = text === '' ? {} : (JSON.parse(text) as Record<string, unknown>);
        resolve({ status: response.statusCode, connection: response.headers.connection, body });
      });
    });
    request.on('error', reject).on('timeout', () => request.destroy(new Error('no answer in time')));
    request.end();
  });
}

/** Asks all the time, until it is told to stop: what it was told, and what it was not. */
export class Kubelet {
  readonly unready: unknown[] = [];
  readonly failed: string[] = [];
  readonly #seen = new Set<number>();
  readonly #loop: Promise<void>;
  #isStopped = false;
  readonly #identify: (body: Answer['body']) => number;

  /** `identify` says by what an answer tells who gave it; the time before the first one is not counted. */
  constructor(port: number, identify = ({ pid }: Answer['body']): number => pid as number) {
    this.#identify = identify;
    this.#loop = this.#run(port);
    onTestFinished(() => this.stop());
  }

  async answeredBy(pid: number): Promise<void> {
    while (!this.#seen.has(pid) && this.failed.length === 0) await pause(2);
  }

  async stop(): Promise<void> {
    this.#isStopped = true;
    await this.#loop;
  }

  async #run(port: number): Promise<void> {
    while (!this.#isStopped) {
      try {
        const { status, body } = await probe(port);
        if (status === 200) this.#seen.add(this.#identify(body));
        else if (this.#seen.size > 0) this.unready.push(body);
      } catch (error) {
        if (this.#seen.size > 0) this.failed.push(String(error));
      }
      await pause(2);
    }
  }
}
