/** What test files read as "node:fs" in a page: files of the repository, which the server of the page gives. */

export function readFileSync(url: URL): string {
  const request = new XMLHttpRequest();
  // At once, as Node reads.
  request.open("GET", url, false);
  request.send();
  if (request.status !== 200) throw new Error(`${url} has status ${request.status}`);
  return request.responseText;
}
