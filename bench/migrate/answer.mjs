// What every server here answers.

export function answer(_request, response) {
  response.setHeader('content-length', 6).end('hello\n');
}
