/** Runs every test file on the backend that BITGRAD_BACKEND names: `npm run test:reference` sets it. */

import { type BackendName, useBackend } from "../src/backend.ts";

const name = process.env.BITGRAD_BACKEND;
if (name) useBackend(name as BackendName);
