/**
 * Discovery of new classes: clusters of unlabelled items, with what labels of other classes teach.
 *
 * @module bitgrad/discovery
 */

import "../ops/all.ts";

export {
  DiscoveryHeads,
  type DiscoveryHeadsOptions,
  type DiscoveryLogits,
  normalizeRows,
  Prototypes,
} from "./heads.ts";
export { type Assignment, hungarian } from "./hungarian.ts";
export { type Clusters, type KMeansOptions, kMeans } from "./k-means.ts";
export {
  type PairBceOptions,
  pairBce,
  pairwiseRankTarget,
  type SwappedPrediction,
  sigmoidRampup,
  swappedPrediction,
} from "./losses.ts";
export { ari, clusterAccuracy, type NmiOptions, nmi } from "./metrics.ts";
export {
  type DiscoveryTargetsOptions,
  discoveryTargets,
  mixTargets,
  type SinkhornOptions,
  sinkhorn,
} from "./targets.ts";
export {
  type Bootstrap,
  bootstrap,
  chooseKnowledge,
  type KnowledgeChoice,
  type MmdOptions,
  mmd2,
  mmd2PerWidth,
  type PseudoFlowOptions,
  pseudoTransferFlow,
  transferFlow,
} from "./transfer-flow.ts";
