/** CRC-32, the checksum of zip and PNG. */

/** What four bytes do to a checksum: 256 entries for each. */
const tables = /* @__PURE__ */ (() => {
  const made = new Int32Array(1024);
  for (let n = 0; n < 256; n++) {
    let crc = n;
    for (let bit = 0; bit < 8; bit++) crc = (crc >>> 1) ^ (crc & 1 ? 0xedb88320 : 0);
    made[n] = crc;
  }
  for (let n = 256; n < 1024; n++) made[n] = (made[n - 256] >>> 8) ^ made[made[n - 256] & 255];
  return made;
})();

/** The checksum of `bytes`, going on from that of what lies before them. */
export function crc32(bytes: Uint8Array, before = 0): number {
  const { length } = bytes;
  let crc = ~before;
  let i = 0;
  // Four at once are 2.5 times as fast as one by one.
  for (; i + 4 <= length; i += 4) {
    crc =
      tables[768 + ((crc ^ bytes[i]) & 255)] ^
      tables[512 + (((crc >>> 8) ^ bytes[i + 1]) & 255)] ^
      tables[256 + (((crc >>> 16) ^ bytes[i + 2]) & 255)] ^
      tables[(crc >>> 24) ^ bytes[i + 3]];
  }
  for (; i < length; i++) crc = tables[(crc ^ bytes[i]) & 255] ^ (crc >>> 8);
  return ~crc >>> 0;
}
