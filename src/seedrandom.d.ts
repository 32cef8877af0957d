/** The generator alone; the package's main file brings six more that nothing here uses. */
declare module "seedrandom/seedrandom.js" {
  import seedrandom from "seedrandom";
  export default seedrandom;
}
