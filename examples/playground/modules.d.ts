/** What Vite makes modules of. */

declare module "*?worker&inline" {
  /** A worker whose script is a text in that of the page. */
  const Inlined: new () => Worker;
  export default Inlined;
}

declare module "*.txt?raw" {
  const text: string;
  export default text;
}
