// NestJS, which listens by itself: with handover/auto there is nothing else to change. Decorators are called by hand here,
// because this is no TypeScript.
//
//   node --import handover/auto examples/nest.mjs         PORT=8080 by default
//   kill -USR2 <pid>                  hands over to a fresh process with the code now on disk

import 'reflect-metadata';
import { setTimeout as pause } from 'node:timers/promises';
import { Body, Controller, Get, Header, HttpCode, Module, Post } from '@nestjs/common';
import { NestFactory } from '@nestjs/core';

class HelloController {
  hello() {
    return 'hello\n';
  }

  slow() {
    return pause(300, 'hello, after 300 ms\n');
  }

  echo(body) {
    return body;
  }
}

const decorate = (method, ...decorators) => {
  const { prototype } = HelloController;
  const descriptor = Object.getOwnPropertyDescriptor(prototype, method);
  for (const decorator of decorators) decorator(prototype, method, descriptor);
};
Controller()(HelloController);
decorate('hello', Get('/'), Header('x-pid', String(process.pid)));
decorate('slow', Get('/slow'), Header('x-pid', String(process.pid)));
decorate('echo', Post('/echo'), HttpCode(200), Header('x-pid', String(process.pid)));
Body()(HelloController.prototype, 'echo', 0);

class AppModule {}
Module({ controllers: [HelloController] })(AppModule);

const app = await NestFactory.create(AppModule, { logger: ['error', 'warn'] });
app.useBodyParser('text', { type: () => true, limit: '1mb' });
await app.listen(Number(process.env.PORT ?? 8080));
