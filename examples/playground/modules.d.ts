/** What Vite makes modules of. */

declare module "*?worker&inline" {
  /** A worker whose script is a text in that of the page. */
  const Inlined: new () => Worker;
  export default Inlined;
}

declare module "*?worker&url" {
  /** Where a script lies, which is built with all that it imports. */
  const address: string;
  export default address;
}

interface ImportMeta {
  /** There while the page is worked on, and not in what is built. */
  readonly hot?: object;
}

declare module "*.txt?raw" {
  const text: string;
  export default text;
}
