// Distinguishes HTML from plain text: a template escapes every value that is not HTML.

/** Text that is HTML already. */
export class Html {
  readonly text: string;

  constructor(text: string) {
    this.text = text;
  }

  toString(): string {
    return this.text;
  }
}

export type Content = Html | string | number | undefined | false | readonly Content[];

const ENTITIES: Readonly<Record<string, string>> = {
  '&': '&amp;',
  '<': '&lt;',
  '>': '&gt;',
  '"': '&quot;',
  "'": '&#39;',
};

export function escapeHtml(text: string): string {
  return text.replace(/[&<>"']/g, (character) => ENTITIES[character] ?? character);
}

/** A template that escapes its values unless they are HTML; it joins lists, and leaves out `undefined` and `false`. */
export function html(strings: TemplateStringsArray, ...values: readonly Content[]): Html {
  return new Html(strings.reduce((all, string, index) => all + textOf(values[index - 1]) + string));
}

function textOf(content: Content): string {
  if (content === undefined || content === false) return '';
  if (content instanceof Html) return content.text;
  return typeof content === 'object' ? content.map(textOf).join('') : escapeHtml(String(content));
}

/** JSON for a `<script type="application/json">`, escaped so that it neither ends the element nor begins a comment. */
export function embeddable(data: unknown): string {
  return JSON.stringify(data).replace(/</g, '\\u003c');
}
